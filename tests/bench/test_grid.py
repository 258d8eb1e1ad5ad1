import json
from pathlib import Path

import pytest
import tomli_w

from expunge.base.errors import ExpungeError
from expunge.bench.cells import make_cells
from expunge.bench.check import check_results
from expunge.bench.forecast import UNKNOWN_BYTES, Forecast
from expunge.bench.grid import read_grid
from expunge.bench.processes import Budget, fits
from expunge.bench.run import Share, _describe

JOB = {"model": {"architecture": "a:b", "weights": "{data}/w"}, "data": {"source": "npz:{arrays}/c.npz"}}
METHOD = {"label": "L2UL (stable)", "method": "l2ul"}
BASE = {"title": "t", "counts": [16, 64], "seeds": [0, 1], "job": JOB, "methods": [METHOD]}


@pytest.fixture
def cells_of(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPUNGE_DATA", "/somewhere")

    def make(**changes):
        path = tmp_path / "grid.toml"
        path.write_text(tomli_w.dumps({**BASE, **changes}))
        return make_cells(read_grid(path), name="grid", runs=tmp_path / "runs")

    return make


def test_one_cell_for_each_combination_seed_by_seed(cells_of, tmp_path):
    cells = cells_of(methods=[METHOD, {"label": "grad", "method": "negative-gradient", "counts": [16]}])
    assert [cell.folder.name for cell in cells] == [
        "l2ul-stable-k16-s0",
        "grad-k16-s0",
        "l2ul-stable-k64-s0",
        "l2ul-stable-k16-s1",
        "grad-k16-s1",
        "l2ul-stable-k64-s1",
    ]
    assert cells[0].job.model.weights == "/somewhere/w"
    assert cells[0].job.data.source == f"npz:{tmp_path}/runs/data/c.npz"
    assert (cells[2].job.forget.random, cells[3].job.seed) == (64, 1)


def test_seeds_by_count(cells_of):
    row = {**METHOD, "seeds": {"16": [0, 1], "64": [1]}}
    assert [(cell.count, cell.seed) for cell in cells_of(methods=[row])] == [(16, 0), (16, 1), (64, 1)]
    none = {**METHOD, "seeds": {"16": [], "64": [0]}}
    assert [(cell.count, cell.seed) for cell in cells_of(methods=[none])] == [(64, 0)]


def test_goals_and_classifiers_multiply_and_name_their_folders(cells_of):
    one = {"label": "ResNet-20", "model": {"weights": "x"}}
    cells = cells_of(goals=["misclassify", "relabel"], classifiers=[one], counts=[16], seeds=[0])
    assert [cell.folder.name for cell in cells] == [
        "resnet-20-l2ul-stable-misclassify-k16-s0",
        "resnet-20-l2ul-stable-relabel-k16-s0",
    ]
    assert cells[0].job.model.weights == "x"
    assert cells[0].job.model.architecture == "a:b"
    assert cells[1].job.goal == "relabel"


def test_a_sweep_is_a_row_for_each_value(cells_of):
    swept = {**METHOD, "settings": {"margin": 1.0}, "sweep": {"attack.radius": [0.5, 2.0], "importance_weight": [0.0]}}
    cells = cells_of(methods=[swept], counts=[16], seeds=[0])
    assert [cell.label.partition(", ")[2] for cell in cells] == [
        "attack.radius 0.5",
        "attack.radius 2.0",
        "importance_weight 0.0",
    ]
    assert cells[1].job.settings == {"margin": 1.0, "attack": {"radius": 2.0}}


def test_a_stream_draws_the_rows_of_all_its_requests(cells_of):
    cell = cells_of(stream={"requests": 8}, counts=[16], seeds=[0])[0]
    assert cell.job.forget.random == 128
    assert cell.folder.name == "l2ul-stable-8x16-s0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": [16]}, "`count`: expected one of title, counts"),
        ({"counts": []}, "`counts`: expected numbers of at least 1"),
        ({"methods": []}, "at least one"),
        ({"methods": [{**METHOD, "sets": {}}]}, r"`methods\[0\].sets`: expected one of label"),
        ({"methods": [{**METHOD, "method": "l2"}]}, "`method`: expected one of least-change"),
        ({"methods": [{**METHOD, "settings": {"radius": 1}}]}, "`settings.radius`: expected one of attack"),
        ({"methods": [{**METHOD, "counts": [32]}]}, "`methods: L2UL .stable.: counts`"),
        ({"methods": [{**METHOD, "seeds": {"32": [0]}}]}, "`methods: L2UL .stable.: counts`"),
        ({"methods": [{**METHOD, "seeds": {"all": [0]}}]}, r"`methods\[0\].seeds`: expected a table from counts"),
        ({"methods": [{**METHOD, "seeds": {"16": 0}}]}, r"`methods\[0\].seeds`: expected a list or none, got 0"),
        ({"methods": [{**METHOD, "earlier": "kept"}]}, "earlier`: expected a method that goes on from earlier edits"),
        ({"methods": [{**METHOD, "seeds": {}}]}, r"`methods\[0\].seeds`: expected a table from counts"),
        (
            {"methods": [{**METHOD, "seeds": {"16": [0]}, "counts": [16]}]},
            r"`methods\[0\].counts`: expected none beside",
        ),
        ({"methods": [{**METHOD, "method": "scrub", "goal": "relabel"}]}, "expected goal misclassify, got relabel"),
        ({"methods": [{**METHOD, "method": "scrub"}], "retain_data": False}, "needs only classifier and forget set"),
        ({"job": {**JOB, "sed": 1}}, "`job.sed`: expected one of model"),
        ({"job": 3}, r"`job`: expected a table \[job\], got int"),
        ({"job": {**JOB, "seed": 1}}, "`job.seed`: expected counts, methods and seeds of the grid"),
        ({"job": {**JOB, "data": {"sorce": "x"}}}, "`job.data.sorce`"),
        ({"stream": {"request": 8}}, "`stream.request`"),
        ({"methods": [METHOD, METHOD]}, "twice"),
        (
            {"methods": [{**METHOD, "counts": [16]}, {**METHOD, "counts": [64], "goal": "relabel"}]},
            "`methods: L2UL .stable.: goal`: expected none in each row of a label, got relabel",
        ),
        ({"seeds": [0, 0]}, r"`seeds`: expected each number once, got \[0, 0\]"),
        ({"counts": [16, 16]}, "`counts`: expected each number once"),
        ({"methods": [{**METHOD, "seeds": [1, 1]}]}, r"`methods: L2UL .stable.: seeds`: expected each number once"),
        ({"goals": ["forget"]}, "`goals`"),
        ({"reference": "retrain"}, r"`reference`: expected the label of a method: L2UL \(stable\), got retrain"),
        ({"reference": METHOD["label"], "stream": {"requests": 2}}, "`reference`: expected single requests"),
        ({"methods": [{**METHOD, "recipe": "none.toml"}]}, "none.toml`: expected a TOML file that can be read"),
    ],
)
def test_what_a_configuration_can_get_wrong(cells_of, changes, words):
    with pytest.raises(ExpungeError, match=words):
        cells_of(**changes)


def test_settings_of_a_recipe_lie_below_those_of_the_row(cells_of, tmp_path):
    recipe = {"method": "l2ul", "settings": {"margin": 2.0, "descent": {"learning_rate": 0.5, "momentum": 0.0}}}
    (tmp_path / "found.toml").write_text(tomli_w.dumps(recipe))
    row = {**METHOD, "recipe": "found.toml", "settings": {"descent": {"momentum": 0.8}}}
    settings = cells_of(methods=[row])[0].job.settings
    assert settings == {"margin": 2.0, "descent": {"learning_rate": 0.5, "momentum": 0.8}}
    with pytest.raises(ExpungeError, match="expected a recipe of scrub, got l2ul"):
        cells_of(methods=[{"label": "scrub", "method": "scrub", "recipe": "found.toml"}])
    (tmp_path / "found.toml").write_text(tomli_w.dumps({"method": "l2ul", "settings": 3}))
    with pytest.raises(ExpungeError, match=r"settings`: expected a table \[settings\], got int"):
        cells_of(methods=[row])


def test_a_file_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "grid.toml").write_text("title = ")
    with pytest.raises(ExpungeError, match=r"grid\.toml`: expected a TOML file"):
        read_grid(tmp_path / "grid.toml")


def finish(cell, **changes):
    cell.folder.mkdir(parents=True)
    result = {"stop_reason": "goal_reached", "cost": {"seconds": 10.0, "peak_memory_bytes": 100}, **changes}
    (cell.folder / "result.json").write_text(json.dumps(result))


def test_an_interrupted_result_is_none(cells_of):
    first, second, *_ = cells_of()
    finish(first, stop_reason="interrupted")
    finish(second)
    assert first.result() is None
    assert second.result()["cost"]["seconds"] == 10


def test_a_result_with_other_settings_is_refused(cells_of):
    cell = cells_of(methods=[{**METHOD, "settings": {"margin": 2.0}}])[0]
    finish(cell)
    saved = {"method": "l2ul", "seed": 0, "forget": {"random": 16}, "settings": {"margin": 2.0, "growth": 1.02}}
    (cell.folder / "job.toml").write_text(tomli_w.dumps(saved))
    check_results([cell])
    saved["settings"]["margin"] = 0.5
    (cell.folder / "job.toml").write_text(tomli_w.dumps(saved))
    with pytest.raises(ExpungeError, match="give the row another label"):
        check_results([cell])


def begin(cell, of):
    """Make the folder of a cell as if it had been begun when it asked for what `of` asks for."""
    (cell.folder / "cell.json").write_text(json.dumps(_describe(of, Share())))


@pytest.mark.parametrize(
    "changes",
    [
        {"job": {**JOB, "data": {"source": "npz:others.npz"}}},
        {"job": {**JOB, "model": {**JOB["model"], "weights": "others"}}},
        {"job": {**JOB, "transforms": ["rotate"]}},
        {"job": {**JOB, "goal": "relabel"}},
        {"job": {**JOB, "minimum_right": 0.0}},
    ],
    ids=lambda changes: next(name for name, value in changes["job"].items() if value != JOB.get(name)),
)
def test_a_result_of_another_job_is_refused_whatever_differs(cells_of, changes):
    before, now = cells_of()[0], cells_of(**changes)[0]
    finish(before)
    check_results([now])  # the folders of old don't say what they were begun for
    begin(before, before)
    check_results([before])
    with pytest.raises(ExpungeError, match="a result of the job that the grid describes, got one of another job"):
        check_results([now])


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": [{**METHOD, "settings": {"margin": 2.0}}]},
        {"job": {**JOB, "data": {"source": "npz:others.npz"}}},
        {"stream": {"requests": 2, "earlier": "repaired"}},
    ],
    ids=["settings", "data", "earlier"],
)
def test_a_stream_goes_on_only_as_it_was_begun(cells_of, changes):
    stream = {"stream": {"requests": 2}}
    before, now = cells_of(**stream)[0], cells_of(**{**stream, **changes})[0]
    before.folder.mkdir(parents=True)
    begin(before, before)
    check_results([now])  # nothing is there that it would go on from
    (before.folder / "request-1").mkdir()
    (before.folder / "request-1" / "request.json").write_text("{}")
    check_results([before])
    with pytest.raises(ExpungeError, match="give the row another label"):
        check_results([now])


def test_a_default_that_is_written_out_makes_no_other_result(cells_of):
    before, now = cells_of()[0], cells_of(methods=[{**METHOD, "settings": {"margin": 0.5}}])[0]
    finish(before)
    begin(before, before)
    (before.folder / "job.toml").write_text(tomli_w.dumps({"method": "l2ul", "seed": 0, "forget": {"random": 16}}))
    check_results([now])


def test_the_forecast_takes_the_cells_most_alike(cells_of):
    cells = cells_of(methods=[METHOD, {"label": "grad", "method": "negative-gradient"}])
    forecast = Forecast(cells)
    assert forecast.seconds_left(cells, 2) is None
    assert forecast.bytes_of(cells[0]) == UNKNOWN_BYTES
    by_name = {cell.folder.name: cell for cell in cells}
    for name, seconds in (("l2ul-stable-k16-s0", 10.0), ("l2ul-stable-k64-s0", 40.0), ("grad-k16-s0", 1.0)):
        finish(by_name[name], cost={"seconds": seconds, "peak_memory_bytes": int(seconds)})
        forecast.learn(by_name[name])
    assert forecast.seconds_of(by_name["l2ul-stable-k16-s1"]) == 10
    assert forecast.seconds_of(by_name["grad-k64-s1"]) == 1
    assert forecast.bytes_of(by_name["l2ul-stable-k64-s1"]) == 40
    left = [by_name[name] for name in ("l2ul-stable-k16-s1", "l2ul-stable-k64-s1")]
    assert forecast.seconds_left(left, 1) == 50
    assert forecast.seconds_left(left, 4) == 25


def test_a_cell_starts_only_when_its_memory_is_free(cells_of):
    large, small, *others = cells_of(methods=[METHOD, {"label": "grad", "method": "negative-gradient"}])
    finish(large, cost={"seconds": 1.0, "peak_memory_bytes": 600})
    finish(small, cost={"seconds": 1.0, "peak_memory_bytes": 300})
    forecast = Forecast([large, small])
    next_large, next_small = (next(one for one in others if one.label == each.label) for each in (large, small))
    budget = Budget(3, 1000)
    assert fits(next_small, [large], budget, forecast)
    assert not fits(next_large, [large], budget, forecast)
    assert fits(next_large, [], Budget(3, 1), forecast)
    assert not fits(next_small, [small, small, small], Budget(3, 10_000), forecast)


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
"""Not part of the source distribution: there no grid is found, and the test below is skipped."""


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_benchmark_of_the_project_can_be_read(path):
    cells = make_cells(read_grid(path), name=path.stem, runs=Path("runs"))
    assert cells
    opening = path.read_text("utf-8").split("\n\n")[0]
    assert f"expunge bench benchmarks/{path.relative_to(BENCHMARKS)}" in opening
