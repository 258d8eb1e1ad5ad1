import json

import numpy as np
import pytest
from sample_audit import write_sample_audit

from expunge.base.errors import DataError
from expunge.report import write_comparison
from expunge.report.comparison import differences, figure_groups, headline_lines, read_sides
from expunge.report.shared_panels import compare_panels


def change(folder, *path, to):
    """Change one value of audit.json."""
    content = json.loads((folder / "audit.json").read_text())
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    (folder / "audit.json").write_text(json.dumps(content))


@pytest.fixture
def folders(tmp_path):
    return [write_sample_audit(tmp_path / name, method=name) for name in ("least-change", "l2ul")]


def line(folders, title):
    lines = [line for _, lines in figure_groups(read_sides(folders)) for line in lines]
    return next(line for line in lines if line.title == title)


def test_sides_are_named_after_methods_or_else_folders(folders, tmp_path):
    assert [side.name for side in read_sides(folders)] == ["least-change", "l2ul"]
    again = write_sample_audit(tmp_path / "again", method="l2ul")
    names = [side.name for side in read_sides([*folders, again])]
    assert names == ["least-change", "l2ul (l2ul)", "l2ul (again)"]


def test_sides_are_called_what_they_are_named(folders):
    assert [side.name for side in read_sides(folders, ["ADV", "ADV+IMP"])] == ["ADV", "ADV+IMP"]
    for names in (["ADV"], ["ADV", "ADV"], ["ADV", " "]):
        with pytest.raises(DataError, match="a name of its own for each of 2 folders"):
            read_sides(folders, names)


def test_sides_in_folders_of_the_same_name_are_told_by_their_paths(tmp_path):
    folders = [write_sample_audit(tmp_path / name / "run", method="l2ul") for name in ("a", "b")]
    assert [side.name for side in read_sides(folders)] == [f"l2ul ({folder})" for folder in folders]


def test_the_same_question_has_no_differences(folders):
    assert differences(read_sides(folders)) == ()


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (("subject", "before", "weights_sha256"), "3" * 64, "different classifiers"),
        (("subject", "forget_sha256"), "3" * 64, "different images"),
        (("subject", "goal"), "relabel", "different goals"),
        (("subject", "sizes", "test"), 400, "different data"),
    ],
)
def test_different_questions_are_said_and_nothing_is_called_best(folders, tmp_path, path, to, said):
    change(folders[0], "figures", "churn.test", "value", to=9.0)
    change(folders[1], *path, to=to)
    (difference,) = differences(read_sides(folders))
    assert said in difference
    assert not any(cell.best for cell in line(folders, "test answers changed").cells)
    assert difference in write_comparison(folders, tmp_path / "compare.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("figure", "title", "value"),
    [
        ("churn.test", "test answers changed", 0.3),
        ("goal.exact", "forgotten, exact pixels", 99.0),
        ("membership.loss_after", "AUC of the loss after", 0.6),
    ],
)
def test_the_best_is_what_the_direction_says(folders, figure, title, value):
    assert not any(cell.best for cell in line(folders, title).cells)
    change(folders[1], "figures", figure, "value", to=value)
    assert [cell.best for cell in line(folders, title).cells] == [False, True]


def test_what_is_not_defined_is_never_best(folders):
    change(folders[1], "figures", "churn.test", "value", to=None)
    change(folders[1], "figures", "churn.test", "reason", to="no test images")
    cells = line(folders, "test answers changed").cells
    assert [cell.value for cell in cells] == ["1.4%", "not defined"]
    assert cells[1].detail == "no test images"
    assert not any(cell.best for cell in cells)


def test_headlines_of_different_figures_say_which(folders):
    change(folders[1], "headline", "cost", to="accuracy.test_drop")
    cost = headline_lines(read_sides(folders))[1]
    assert [cell.detail.split(",")[0] for cell in cost.cells] == ["test answers changed", "test accuracy lost"]
    assert not any(cell.best for cell in cost.cells)


def test_panels_show_every_audit_once(folders):
    panels = {panel.name: panel for panel in compare_panels(read_sides(folders))}
    assert set(panels) == {"copies", "classes", "pattern", "slices", "tsne", "membership", "relearning", "cka", "time"}
    assert all(panel.reason is None for panel in panels.values())
    assert [key.name for key in panels["copies"].keys] == ["least-change", "l2ul"]


def test_planes_patterns_and_maps_stand_side_by_side(folders):
    panels = {panel.name: panel for panel in compare_panels(read_sides(folders))}
    assert [drawing.caption for drawing in panels["pattern"].drawings] == ["least-change", "l2ul"]
    maps = [f"{name}, {when} the edit" for name in ("least-change", "l2ul") for when in ("before", "after")]
    assert [drawing.caption for drawing in panels["tsne"].drawings] == maps
    planes = [drawing.caption for drawing in panels["slices"].drawings]
    assert planes[0].endswith(", before")
    assert planes[1:3] == ["least-change", "l2ul"]
    assert panels["slices"].together == 3


def test_planes_of_different_images_are_not_set_side_by_side(folders):
    path = folders[1] / "slices.npz"
    with np.load(path) as kept:
        arrays = dict(kept)
    np.savez(path, **{**arrays, "names": np.full_like(arrays["names"], "x")})
    panels = {panel.name: panel for panel in compare_panels(read_sides(folders))}
    assert panels["slices"].reason == "these audits cut planes through different images"


def test_panels_without_data_say_so(tmp_path):
    empty = ("copies", "classes", "pattern", "slices", "tsne", "membership", "relearning", "cka")
    folders = [write_sample_audit(tmp_path / name, method=name, without=empty) for name in ("a", "b")]
    reasons = {panel.name: panel.reason for panel in compare_panels(read_sides(folders))}
    assert all(reasons[name] == "none of these audits has it" for name in empty)
    assert reasons["time"] is None
