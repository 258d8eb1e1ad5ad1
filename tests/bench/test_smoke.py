from pathlib import Path

import pytest

from expunge.bench.cells import make_cells
from expunge.bench.grid import read_grid
from expunge.bench.lanes import Budget
from expunge.bench.page import Report, write_results
from expunge.bench.schedule import Means, run_missing
from expunge.bench.smoke import make_smoke
from expunge.compute.runtime import SILENT

PAPER = sorted((Path(__file__).parents[2] / "benchmarks" / "paper").glob("*.toml"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def test_there_is_a_configuration_for_each_experiment():
    assert len(PAPER) >= 8


@pytest.mark.filterwarnings("ignore::expunge.base.errors.ExpungeWarning")
@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_experiment_of_the_paper_runs_in_small(path, runs):
    whole = read_grid(path)
    grid = make_smoke(whole, runs / "smoke")
    cells = make_cells(grid, name=path.stem, runs=runs)
    assert {row.method for row in whole.methods} == {cell.job.method for cell in cells}
    said = []
    failures = run_missing(cells, Means(Budget.of_machine(1), SILENT, said.append))
    assert failures == {}
    assert len(said) == 1 + len(cells)
    page = write_results(Report(grid, path, cells), runs / path.stem)
    assert "Not complete" not in page
    (before,) = [line for line in page.splitlines() if line.startswith("Before: ")]
    assert before.count("retain ") == max(1, len(grid.classifiers))
    assert all(f"{one.label}: retain " in before for one in grid.classifiers)
    lines = (runs / path.stem / f"{path.stem}.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(cell.stream.requests for cell in cells)
