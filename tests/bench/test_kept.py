import json
from pathlib import Path

import pytest
import tomli_w

from expunge.base.errors import DataError
from expunge.base.settings import to_mapping
from expunge.bench.cells import make_cells
from expunge.bench.grid import read_grid
from expunge.bench.kept import to_lines, with_kept
from expunge.bench.records import read_records
from expunge.bench.tables import to_csv
from expunge.methods.unlearn import make_method

JOB = {"model": {"architecture": "a:b", "weights": "{data}/w"}, "data": {"source": "npz:{arrays}/c.npz"}}
ROW = {"label": "L2UL", "method": "l2ul"}
BASE = {"title": "t", "counts": [16], "seeds": [0, 1], "job": JOB, "methods": [ROW]}
RESULT = {"stop_reason": "goal_reached", "goal_achieved": 1.0, "cost": {"seconds": 10.0}}
MACHINE = {"cores": 2, "threads": 1, "at_a_time": 1}


@pytest.fixture
def cells_of(tmp_path):
    def make(name="grid", runs="runs", **changes):
        path = tmp_path / f"{name}.toml"
        path.write_text(tomli_w.dumps({**BASE, **changes}))
        return make_cells(read_grid(path), name=name, runs=tmp_path / runs)

    return make


def finish(cell, **changes):
    cell.folder.mkdir(parents=True)
    (cell.folder / "result.json").write_text(json.dumps({**RESULT, **changes}))
    (cell.folder / "cell.json").write_text(json.dumps(MACHINE))


def keep(folder, name, cells):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text(to_lines(cells))


def test_what_is_kept_comes_back_without_the_folders(cells_of, tmp_path, monkeypatch):
    first, second = cells_of()
    finish(first, trace=[{"step": 1}], files={"model.safetensors": "f"})
    keep(tmp_path / "kept", "grid", [first, second])
    monkeypatch.setenv("EXPUNGE_DATA", "/another/machine")
    found, missing = with_kept(cells_of(runs="elsewhere"), tmp_path / "kept", "grid")
    assert (found.result(), found.machine(), found.audit()) == (RESULT, MACHINE, {})
    assert (missing.result(), missing.machine()) == (None, None)
    keep(tmp_path / "again", "grid", [found, missing])
    assert (tmp_path / "again" / "grid.jsonl").read_text() == (tmp_path / "kept" / "grid.jsonl").read_text()


def test_another_grid_that_asks_for_the_same_finds_it_and_its_own_goes_first(cells_of, tmp_path):
    for name, achieved in (("a-grid", 0.5), ("grid", 1.0)):
        cell = cells_of(name, methods=[{**ROW, "label": name}])[0]
        finish(cell, goal_achieved=achieved)
        keep(tmp_path / "kept", name, [cell])
    wanted = cells_of(runs="elsewhere")[:1]
    assert with_kept(wanted, tmp_path / "kept", "grid")[0].result()["goal_achieved"] == 1.0
    assert with_kept(wanted, tmp_path / "kept", "z-grid")[0].result()["goal_achieved"] == 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": [{**ROW, "settings": {"margin": 0.7}}]},
        {"methods": [{**ROW, "strength": "robust"}]},
        {"seeds": [2]},
        {"counts": [17]},
        {"goals": ["relabel"]},
        {"stream": {"requests": 2}},
        {"job": {**JOB, "model": {"architecture": "a:b", "weights": "{data}/v"}}},
        {"job": {**JOB, "max_steps": 3}},
    ],
)
def test_a_cell_that_asks_for_anything_else_does_not(cells_of, tmp_path, changes):
    finish(cells_of()[0])
    keep(tmp_path / "kept", "grid", cells_of())
    assert all(cell.result() is None for cell in with_kept(cells_of(runs="x", **changes), tmp_path / "kept", "grid"))


def test_what_it_is_run_on_makes_no_other_cell_and_a_default_that_is_named_neither(cells_of):
    key = cells_of()[0].key
    assert cells_of(job={**JOB, "device": "cuda", "memory_gigabytes": 3.0})[0].key == key
    assert cells_of(methods=[{**ROW, "settings": {"margin": 0.5}}])[0].key == key


def test_what_was_measured_with_another_default_is_left_and_a_setting_since_then_does_not_matter(cells_of, tmp_path):
    kept, told = tmp_path / "kept", to_mapping(make_method("l2ul"))
    del told["growth"], told["attack"]["start"]
    cell, other = cells_of()
    finish(cell, settings=told)
    finish(other, settings=told | {"attack": {**told["attack"], "radius": 0.9}})
    keep(kept, "grid", [cell, other])
    assert [one.result() is None for one in with_kept(cells_of(runs="elsewhere"), kept, "grid")] == [False, True]


def test_an_own_result_goes_over_a_kept_one(cells_of, tmp_path):
    finish(cells_of(runs="elsewhere")[0], goal_achieved=0.5)
    keep(tmp_path / "kept", "grid", cells_of(runs="elsewhere"))
    finish(cells_of()[0])
    assert with_kept(cells_of(), tmp_path / "kept", "grid")[0].result() == RESULT


@pytest.mark.parametrize(("text", "words"), [("{", "Expecting"), ('{"key": "a"}', "another thing in line 1")])
def test_a_file_that_holds_something_else_is_named(cells_of, tmp_path, text, words):
    (tmp_path / "other.jsonl").write_text(text)
    with pytest.raises(DataError, match=rf"other\.jsonl`: expected kept results.*{words}"):
        with_kept(cells_of(), tmp_path, "grid")


ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "results"


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_published_tables_are_what_is_kept_and_of_the_settings_that_methods_have(path):
    [config] = (ROOT / "benchmarks").rglob(f"{path.stem}.toml")
    grid = read_grid(config)
    cells = with_kept(make_cells(grid, name=path.stem, runs=Path("none")), PUBLISHED, path.stem)
    done = [cell for cell in cells if cell.result() is not None]
    assert {cell.key for cell in done} == {json.loads(line)["key"] for line in path.read_text("utf-8").splitlines()}
    assert to_csv(read_records(cells, grid.reference)) == path.with_suffix(".csv").read_text("utf-8")
