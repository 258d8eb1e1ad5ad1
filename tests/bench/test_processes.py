"""Cells in processes of their own."""

import numpy as np
import pytest
import tomli_w

from expunge.bench import make_cells, read_grid
from expunge.bench.forecast import Forecast
from expunge.bench.processes import Budget, run_in_processes


@pytest.fixture
def cell(tmp_path):
    """Return a cell whose weights are drawn at random, which is warned of."""
    rng = np.random.default_rng(0)
    arrays = {"train_x": rng.random((8, 3, 8, 8), dtype=np.float32), "train_y": np.arange(8) % 5}
    np.savez(tmp_path / "images.npz", **arrays)
    model = {"architecture": "cifar:resnet20", "num_classes": 5}
    job = {"device": "cpu", "model": model, "data": {"source": f"npz:{tmp_path / 'images.npz'}"}, "max_steps": 1}
    row = {"label": "odd", "method": "negative-gradient"}
    grid = {"title": "One cell", "counts": [2], "seeds": [0], "methods": [row], "job": job}
    (tmp_path / "grid.toml").write_text(tomli_w.dumps(grid))
    return make_cells(read_grid(tmp_path / "grid.toml"), name="grid", runs=tmp_path / "runs")[0]


def test_what_the_package_warns_of_is_a_line_with_the_name_of_the_cell(cell, capfd):
    ended = []
    run_in_processes([cell], Budget(1, 2**40), Forecast([cell]), lambda *told: ended.append(told))
    assert len(ended) == 1
    lines = capfd.readouterr().err.splitlines()
    assert any(line.startswith("note: odd, k = 2, seed 0: cifar:resnet20 has random weights") for line in lines), lines
    assert not any("Warning" in line for line in lines)
