import json
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from expunge.base.errors import SettingsError
from expunge.bench.cells import make_cells
from expunge.bench.grid import read_grid
from expunge.bench.page import Report, make_page, write_results
from expunge.bench.plots import make_plots
from expunge.bench.processes import Budget
from expunge.bench.records import read_records
from expunge.bench.schedule import Execution, run_missing
from expunge.bench.smoke import make_smoke
from expunge.bench.tables import summarise
from expunge.compute.runtime import SILENT

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers_never_seen.toml"
BEFORE = {"forget": 100.0, "retain": 99.0, "test": 60.0}
RETRAINED = {"forget": 58.0, "retain": 98.0, "test": 61.0}
NEAR = {"forget": 64.0, "retain": 99.0, "test": 60.0}
FAR = {"forget": 0.0, "retain": 90.0, "test": 50.0}


@pytest.fixture
def grid(tmp_path):
    methods = [{"label": label, "method": "fine-tune"} for label in ("far", "retrain", "near")]
    job = {"model": {"architecture": "a:b"}, "data": {"source": "npz:c.npz"}}
    said = {
        "title": "t",
        "counts": [4],
        "seeds": [0, 1, 2, 3, 4],
        "reference": "retrain",
        "notes": ["Why *far* is."],
        "job": job,
        "methods": methods,
    }
    (tmp_path / "grid.toml").write_text(tomli_w.dumps(said))
    return read_grid(tmp_path / "grid.toml")


@pytest.fixture
def cells(grid, tmp_path):
    return make_cells(grid, name="grid", runs=tmp_path / "runs")


def finish(cell, accuracies):
    cell.folder.mkdir(parents=True)
    before = {name: {"accuracy": each + cell.seed, "n": 5} for name, each in BEFORE.items()}
    result = {
        "goal": "misclassify",
        "stop_reason": "completed",
        "goal_achieved": 1 - accuracies["forget"] / 100,
        "before": before,
        "after": {name: {"accuracy": each, "n": 5, "churn": 3.0} for name, each in accuracies.items()},
        "steps": 10,
        "cost": {"seconds": 10.0, "gradient_evaluations": 100},
        "inputs": {"forget_sha256": "f"},
        "versions": {"torch": "2", "expunge": "0"},
        "device": "cpu",
        "retain_used": cell.label != "near",
    }
    (cell.folder / "result.json").write_text(json.dumps(result))


def finish_all(cells):
    for cell in cells:
        finish(cell, {"far": FAR, "retrain": RETRAINED, "near": NEAR}[cell.label])


def test_each_is_compared_with_the_reference_of_its_own_forget_set(cells):
    finish_all(cells)
    records = read_records(cells, "retrain")
    assert [(each.label, each.seed) for each in records] == [
        (label, seed) for seed in range(5) for label in ("far", "unedited", "retrain", "near")
    ]
    gaps = {each.label: each.figures["gap"] for each in records if each.seed == 0}
    assert gaps == {
        "far": pytest.approx((58 + 8 + 11) / 3),
        "unedited": pytest.approx((42 + 1 + 1) / 3),
        "retrain": 0,
        "near": pytest.approx((6 + 1 + 1) / 3),
    }
    near = next(each for each in records if each.label == "near")
    assert near.figures["tug of war"] == pytest.approx(0.94 * 0.99 * 0.99)
    assert near.figures["forget misclassified, %"] == pytest.approx(36)
    assert "membership AUC, from 0.5" not in near.figures  # there is no audit
    unedited = [each for each in records if each.label == "unedited"]
    assert [each.figures["forget accuracy"] for each in unedited] == [100, 101, 102, 103, 104]
    assert unedited[0].figures["seconds"] == unedited[0].figures["test answers changed, %"] == 0


def test_traces_to_both_sides_of_chance_do_not_make_up_for_each_other(cells):
    finish_all(cells)
    audited = [replace(cell, stored=to_stored(cell)) for cell in cells]
    for cell in cells:
        (cell.folder / "result.json").unlink()
    table = summarise(read_records(audited, "retrain"))
    found = {row.keys[-1]: row.estimates["membership AUC, from 0.5"].mean for row in table.rows}
    assert found == pytest.approx({"far": 0.3, "unedited": 0.0, "retrain": 0.3, "near": 0.3})


def to_stored(cell):
    """Return what a store has of a cell whose AUC is 0.2 or 0.8, as its seed is even or odd."""
    audit = {"membership.loss_before": 0.5, "membership.loss_after": 0.2 + 0.6 * (cell.seed % 2)}
    return {"result": cell.result(), "audit": audit}


def test_no_method_is_called_as_the_line_before_any_edit_is(grid):
    named = replace(grid.methods[0], label="unedited")
    with pytest.raises(SettingsError, match="'unedited' is the line before any edit"):
        replace(grid, methods=(named, *grid.methods))


def test_the_reference_is_run_in_small_though_another_row_is_like_it(grid, tmp_path):
    small = make_smoke(replace(grid, reference="near"), tmp_path / "small")
    assert [row.label for row in small.methods] == ["near"]


def test_the_reference_and_the_unedited_classifier_are_never_the_best(cells):
    finish_all(cells)
    table = summarise(read_records(cells, "retrain"))
    assert {row.keys[-1]: "gap" in row.best for row in table.rows} == {
        "far": False, "unedited": False, "retrain": False, "near": True,
    }  # fmt: skip
    assert not any("accuracy" in column for row in table.rows for column in row.best)


def test_what_has_no_reference_yet_is_left_out(grid, cells, tmp_path):
    for cell in cells:
        if cell.label != "retrain" or cell.seed == 0:
            finish(cell, NEAR)
    records = read_records(cells, "retrain")
    assert {each.seed for each in records} == {0}
    page = make_page(Report(grid, tmp_path / "grid.toml", cells), records, ())
    assert "compared with `retrain`" in page
    assert "Nothing is bold, since that takes two methods with 5 forget sets or more. Retain" in page
    assert "4 of 15 cells are missing" in page
    assert page.index("| unedited |") < page.index("\n\nWhy *far* is.\n\n") < page.index("Before: ")


def test_the_unedited_classifier_did_not_use_retain_data(grid, cells, tmp_path):
    finish_all(cells)
    page = make_page(Report(grid, tmp_path / "grid.toml", cells), read_records(cells, "retrain"), ())
    assert "except that these methods used retain data: far, retrain." in page


def test_the_accuracies_before_are_a_span_where_forget_sets_leave_other_images(grid, cells, tmp_path):
    finish_all(cells)
    page = make_page(Report(grid, tmp_path / "grid.toml", cells), read_records(cells, "retrain"), ())
    assert "Before: retain 99.00 to 103.00 (n = 5), test 60.00 to 64.00 (n = 5)." in page


def test_the_plot_has_a_line_for_each_method(cells):
    finish_all(cells)
    plots = make_plots(read_records(cells, "retrain"), "title")
    assert set(plots) == {"gap"}
    assert all(f"<!-- {label} -->" in plots["gap"] for label in ("far", "unedited", "retrain", "near", "k = 4"))


@pytest.mark.skipif(not PEERS.exists(), reason="the source distribution has no grids")
@pytest.mark.filterwarnings("ignore::expunge.base.errors.ExpungeWarning")
def test_the_peers_run_in_small(tmp_path):
    grid = make_smoke(read_grid(PEERS), tmp_path / "smoke")
    cells = make_cells(grid, name=PEERS.stem, runs=tmp_path)
    assert run_missing(cells, Execution(Budget.of_machine(1), SILENT, lambda _: None)) == {}
    page = write_results(Report(grid, PEERS, cells), tmp_path / "results")
    assert "Not complete" not in page
    assert "| tug of war |" in page
    assert "| unedited |" in page
    assert "`retrain again` is another training from another seed" in page
    records = {each.label: each for each in read_records(cells, grid.reference)}
    again, first = records["retrain again"].result, records["retrain"].result
    assert not records["retrain again"].competes
    assert (again["inputs"], again["seed"]) == (first["inputs"], first["seed"])
    assert again["trace"] != first["trace"]
    assert [again["before"], again["settings"]["training"]] == [first["before"], first["settings"]["training"]]
