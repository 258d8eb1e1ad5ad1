"""An audit from two classifiers to its folder."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import expunge.audit.record
from expunge.audit import tables
from expunge.audit.audit_json import read_audit
from expunge.audit.collect import deep
from expunge.audit.collect.features import gather_features, layer_similarity
from expunge.audit.collect.relearning import relearn
from expunge.audit.collect.slices import cut_slice
from expunge.audit.record import Level, Subject
from expunge.audit.run import Answers, Comparison, Known, recompute_audit, run_audit
from expunge.audit.store import files as places
from expunge.base.errors import ClassifierError, DataError, ForgetSetError
from expunge.compute.context import Cost
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.data.images import Subset, TensorImages
from expunge.models.classifier import Classifier
from expunge.models.pixels import Bounds
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Misclassify, Relabel, Unseen

COST = Cost(2.5, {"attack": 1.0, "edit": 1.5}, 240, 1_000_000)
TABLES = {
    "rows",
    "classes",
    "copies",
    "layers",
    "cka",
    "pattern",
    "membership",
    "residual",
    "relearning",
    "tsne",
    "cost",
    "pools",
    "slices",
}


def images_of(seed, count, draw):
    x, labels = draw(count, seed)
    return TensorImages([f"{seed}-{row}" for row in range(count)], labels, x)


@pytest.fixture(scope="session")
def draw():
    """Return the function that draws the images of the shared fixtures."""
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.9, 0.9, 0.1], [0.1, 0.9, 0.9]])

    def draw(count, seed):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 5
        texture = torch.rand(count, 3, 8, 6, generator=generator)
        return 0.7 * colours[labels].view(count, 3, 1, 1) + 0.3 * texture, labels

    return draw


@pytest.fixture(scope="session")
def compared(trained, rows, draw):
    """Return the comparison of a classifier with one whose last layer was shaken, on rows that it gets right."""
    after = trained.copy()
    with torch.no_grad():
        weight = after.network[-1].weight
        weight += 0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    images = {"retain": images_of(3, 30, draw), "test": images_of(4, 40, draw)}
    return Comparison(
        before=trained,
        after=after,
        rows=rows,
        goal=Misclassify(),
        goal_labels=rows.y,
        images=images,
        subject=describe(trained, after, rows, images),
        known=Known(cost=COST),
        notes=("colours",),
    )


def describe(before, after, rows, images):
    sides = [{"architecture": "tiny", "weights_sha256": each.sha256()} for each in (before, after)]
    sizes = {"forget": len(rows), **{name: len(part.labels) for name, part in images.items()}}
    names = tuple("rgbyc")
    return Subject(sides[0], sides[1], "drawn", rows.sha256(), "misclassify", names, sizes, ("forget",), "by hand", {})


def run(comparison, folder, level=Level.FULL, pictures=True):
    return run_audit(comparison, folder, level=level, pictures=pictures, runtime=Runtime(batch_size=16))


@pytest.fixture(scope="session")
def full(compared, tmp_path_factory):
    return run(compared, tmp_path_factory.mktemp("full"))


def read_table(folder, name):
    return list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines()))


def test_a_full_audit_fills_every_table_that_needs_no_pool(full):
    assert set(full.tables) == TABLES
    missing = {name: entry.reason for name, entry in full.tables.items() if entry.file is None}
    assert missing == {"pools": "there are no pools of other classifiers"}
    files = {path.name for path in full.folder.iterdir()}
    assert files == {f"{name}.csv" for name in TABLES - {"pools", "slices"}} | {
        "audit.json",
        "gathered.json",
        "predictions.npz",
        "features.npz",
        "slices.npz",
        "images",
    }


def test_the_map_of_a_sorted_test_set_shows_every_class(compared, tmp_path, monkeypatch):
    monkeypatch.setattr(deep, "EMBEDDED_ROWS", 20)
    test = compared.images["test"]
    order = test.labels.argsort(stable=True).tolist()
    sorted_by_class = replace(compared, images={**compared.images, "test": Subset(test, order)})
    run(sorted_by_class, tmp_path)
    drawn = [row for row in read_table(tmp_path, "tsne") if row["part"] == "test" and row["when"] == "after"]
    assert len(drawn) == 20
    assert {row["label"] for row in drawn} == set("01234")
    labels = dict(zip(test.ids, test.labels.tolist(), strict=True))
    assert all(labels[row["id"]] == int(row["label"]) for row in drawn)


class Twice(nn.Module):
    """A network whose only layer is called twice, so that it has no features before a last layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(144, 144)

    def forward(self, x):
        return self.layer(self.layer(x.flatten(1)))[:, :5]


def test_a_full_audit_of_a_network_without_features_says_so(compared, tmp_path):
    torch.manual_seed(0)
    before = Classifier.wrap(Twice(), num_classes=5)
    after = Classifier.wrap(Twice(), num_classes=5)
    found = run(replace(compared, before=before, after=after), tmp_path)
    reason = "the classifier calls no linear or convolutional layer exactly once, image by image"
    assert found.tables["tsne"].reason == reason
    assert found.tables["slices"].reason == reason
    assert found.tables["relearning"].file is not None


def test_planes_go_through_rows_that_were_right_before(compared, tmp_path, monkeypatch):
    monkeypatch.setattr(deep, "SLICES", 2)
    answers = compute_logits(compared.before, compared.rows.x).argmax(dim=1)
    labels = (answers + 1) % 5
    labels[2], labels[5] = answers[2], answers[5]
    run(replace(compared, rows=replace(compared.rows, y=labels), goal_labels=labels), tmp_path)
    assert sorted(each.row for each in read_audit(tmp_path).slices()) == [2, 5]


def test_planes_go_through_images_that_were_right_before(compared, tmp_path):
    test = compared.images["test"]
    labels = (compute_logits(compared.before, test.load(range(40))).argmax(dim=1) + 1) % 5
    labels[30:] = test.labels[30:]
    run(replace(compared, images={"test": TensorImages(test.ids, labels, test.load(range(40)))}), tmp_path)
    planes = read_audit(tmp_path).slices()
    assert len(planes) == deep.SLICES
    assert {name for plane in planes for name in plane.names[1:]} <= set(test.ids[30:])


def test_every_table_is_among_those_that_are_cleared():
    assert tuple(tables.TABLES) == places.TABLE_NAMES


def test_what_is_read_is_what_was_written_and_fits_the_schema(full):
    assert read_audit(full.folder) == full
    schema = json.loads(Path(expunge.audit.record.__file__).with_name("audit.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads((full.folder / "audit.json").read_text()))


def test_the_schema_refuses_a_figure_without_value_or_reason(full):
    schema = json.loads(Path(expunge.audit.record.__file__).with_name("audit.schema.json").read_text())
    content = json.loads((full.folder / "audit.json").read_text())
    content["figures"]["goal.exact"]["value"] = None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(content)


def test_the_same_audit_on_the_same_inputs_is_the_same_file(compared, full, tmp_path):
    run(compared, tmp_path)
    for name in ("audit.json", "rows.csv", "membership.csv", "predictions.npz", "slices.npz"):
        assert (tmp_path / name).read_bytes() == (full.folder / name).read_bytes(), name


@pytest.mark.parametrize("level", list(Level))
def test_figures_and_tables_follow_from_the_stored_files_alone(compared, tmp_path, level):
    run(compared, tmp_path, level)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for path in [tmp_path / "audit.json", *tmp_path.glob("*.csv")]:
        path.write_bytes(files[path].replace(b"1", b"2") if path.suffix == ".csv" else files[path])
    recompute_audit(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


def test_known_answers_are_not_computed_again(compared, tmp_path, full):
    answers = {
        name: Answers(compute_logits(compared.before, part.pixels), compute_logits(compared.after, part.pixels))
        for name, part in compared.images.items()
    }
    unreadable = {
        name: TensorImages(part.ids, part.labels, torch.full_like(part.pixels, torch.nan))
        for name, part in compared.images.items()
    }
    known = replace(compared, images=unreadable, known=Known(answers=answers, cost=COST))
    found = run(known, tmp_path, Level.QUICK)
    assert found.figures["churn.test"] == full.figures["churn.test"]
    assert found.tables["tsne"].reason == "only a full audit measures this"
    assert found.tables["slices"].reason == "only a full audit measures this"


def test_how_many_copies_held_the_goal_before_is_told_beside_how_many_do_after(compared, full, tmp_path):
    before, after = (full.figures[name].value for name in ("goal.robust_before", "goal.robust"))
    nothing = run(replace(compared, after=compared.before), tmp_path / "nothing", Level.QUICK)
    assert nothing.figures["goal.robust"].value == nothing.figures["goal.robust_before"].value == before
    assert before < after
    kinds = read_table(full.folder, "copies")
    assert all(float(row["held_before"]) <= 1 for row in kinds)
    held = {row["kind"]: row["held"] for row in read_table(tmp_path / "nothing", "copies")}
    assert {row["kind"]: row["held_before"] for row in kinds} == held
    unseen = replace(compared, goal=Unseen(), allowed=torch.zeros(len(compared.rows)))
    figure = run(unseen, tmp_path / "unseen", Level.QUICK).figures["goal.robust_before"]
    assert (figure.value, "how much each lead falls" in figure.reason) == (None, True)


def test_an_audit_from_before_copies_were_measured_twice_is_computed_again_without_them(compared, tmp_path):
    run(compared, tmp_path, Level.QUICK)
    content = json.loads((tmp_path / "gathered.json").read_text())
    del content["copies_before"]
    (tmp_path / "gathered.json").write_text(json.dumps(content))
    figures = recompute_audit(tmp_path).figures
    assert figures["goal.robust"].value is not None
    assert (figures["goal.robust_before"].value, figures["goal.robust_before"].reason) == (None, "it was not measured")
    assert {row["held_before"] for row in read_table(tmp_path, "copies")} == {""}


def test_the_table_of_rows_agrees_with_the_classifiers(compared, full):
    logits = compute_logits(compared.after, compared.rows.x)
    table = read_table(full.folder, "rows")
    assert [row["id"] for row in table] == list(compared.rows.ids)
    for row, values, label in zip(table, logits, compared.rows.y, strict=True):
        rivals = values.clone()
        rivals[label] = -torch.inf
        assert int(row["predicted_after"]) == values.argmax()
        assert row["goal_met"] == ("yes" if values.argmax() != label else "no")
        assert float(row["margin"]) == pytest.approx(float(rivals.max() - values[label]), rel=1e-4, abs=1e-4)
        assert row["new_label"] == ""
        assert 0 <= float(row["robust"]) <= 1
        picture = np.asarray(Image.open(full.folder / row["image"]))
        assert picture.shape == (8, 6, 3)
    original = (compared.rows.x[0] * 255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(Image.open(full.folder / table[0]["image"])), original)


def test_other_tables_agree_with_the_figures(full):
    figures = full.figures
    layers = full.table("layers")
    assert sum(float(row["l2"]) ** 2 for row in layers) ** 0.5 == pytest.approx(figures["weights.l2"].value, rel=1e-4)
    assert [row["name"] for row in layers if float(row["share"]) > 0] == ["8.weight"]
    classes = [row for row in full.table("classes") if row["part"] == "test"]
    mean = sum(float(row["churn"]) * int(row["n"]) for row in classes) / 40
    assert mean == pytest.approx(figures["churn.test"].value, rel=1e-4)
    assert {row["classifier"] for row in full.table("relearning")} == {"original", "edited"}
    assert {row["layer"] for row in full.table("cka")} == {"0", "3", "8"}
    unchanged = [row for row in full.table("cka") if row["layer"] != "8"]
    assert all(float(row["cka"]) == pytest.approx(1) for row in unchanged)
    assert sum(int(row["rows"]) for row in full.table("pattern")) == len(full.table("rows"))
    assert {(row["phase"], float(row["seconds"])) for row in full.table("cost")} == {("attack", 1.0), ("edit", 1.5)}
    points = [row for row in full.table("membership") if (row["attack"], row["when"]) == ("loss", "before")]
    x, y = ([float(row[name]) for row in points] for name in ("fpr", "tpr"))
    assert np.trapezoid(y, x) == pytest.approx(figures["membership.loss_before"].value, abs=1e-4)


def test_an_older_audit_leaves_nothing_behind(compared, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    (tmp_path / "report.html").write_text("of the older one")
    run(compared, tmp_path)
    found = run(compared, tmp_path, Level.QUICK, pictures=False)
    assert not (tmp_path / "slices.npz").exists()
    assert not (tmp_path / "tsne.csv").exists()
    assert not (tmp_path / "report.html").exists()
    assert not list(tmp_path.glob("images/*"))
    assert (tmp_path / "mine.txt").read_text() == "kept"
    assert {row["image"] for row in found.table("rows")} == {""}
    assert "not part of this folder" in found.notes[-1]


def test_ids_that_look_like_formulas_are_quoted(compared, tmp_path):
    rows = compared.rows
    ids = ("=1+1", "<b>&", *rows.ids[2:])
    found = run(replace(compared, rows=ForgetSet(ids, rows.x, rows.y)), tmp_path, Level.QUICK)
    assert [row["id"] for row in found.table("rows")][:2] == ["'=1+1", "<b>&"]


def test_other_architectures_can_be_compared(compared, tmp_path):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network[2].reset_parameters()
    found = run(replace(compared, after=Classifier.wrap(network, num_classes=5)), tmp_path)
    assert found.figures["weights.l2"].reason == "the two classifiers have different architectures"
    assert found.figures["cka.forget"].value is not None
    assert found.tables["cka"].reason == "the two classifiers share no layer by name"


def test_relabelled_rows_have_their_new_label_and_no_pattern(compared, relabelled, tmp_path):
    changed = replace(compared, rows=relabelled, goal=Relabel(), goal_labels=relabelled.y_new)
    found = run(replace(changed, subject=replace(compared.subject, goal="relabel")), tmp_path, Level.QUICK)
    assert [int(row["new_label"]) for row in found.table("rows")] == relabelled.y_new.tolist()
    assert found.figures["pattern.runner_up"].reason == "the goal names the new labels"


def test_one_row_and_no_other_images(compared, tmp_path):
    rows = compared.rows.rows([0])
    alone = replace(compared, rows=rows, goal_labels=rows.y, images={}, known=Known())
    found = run(alone, tmp_path)
    assert found.figures["churn.test"].reason == "there are no test images"
    assert found.figures["probe.after"].reason == "there are no retain images"
    assert found.figures["relearning.full_edited"].reason == "there are no retain images to train on"
    assert found.tables["slices"].reason == "there are no retain or test images"
    assert found.tables["tsne"].reason == "it takes at least five rows"
    assert found.headline["outsider"] is None
    assert read_audit(tmp_path) == found
    assert not any("1 forgotten images" in figure.measured_on for figure in found.figures.values())
    assert found.figures["goal.exact"].measured_on == "1 forgotten image"


def test_a_class_without_rows_has_empty_cells(compared, draw, tmp_path):
    few = images_of(9, 3, draw)
    found = run(replace(compared, images={"test": few}), tmp_path, Level.QUICK)
    test = [row for row in found.table("classes") if row["part"] == "test"]
    assert [row["n"] for row in test] == ["1", "1", "1", "0", "0"]
    assert test[4]["accuracy_before"] == test[4]["churn"] == ""


# Bad input


def test_classifiers_of_other_classes_or_bounds_are_refused(compared):
    other = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(144, 4)), 4)
    with pytest.raises(ClassifierError, match="`after`: expected 5 classes, as before, got 4"):
        replace(compared, after=other)
    wide = Classifier(compared.after.module, 5, Bounds(0, 255))
    with pytest.raises(ClassifierError, match="`after`: expected pixels within"):
        replace(compared, after=wide)


def test_a_forgotten_row_among_the_retain_images_is_refused(compared):
    part = compared.images["retain"]
    shared = TensorImages(["row-2", *part.ids[1:]], part.labels, part.pixels)
    with pytest.raises(DataError, match="`retain`: expected none of the images to forget, got 1 of them: row-2"):
        replace(compared, images={"retain": shared})


def test_a_label_that_is_no_class_is_refused(compared):
    rows = compared.rows
    with pytest.raises(ForgetSetError, match=r"labels in 0\.\.4"):
        replace(compared, rows=ForgetSet(rows.ids, rows.x, rows.y + 3))


def test_answers_that_are_not_finite_are_refused_and_nothing_is_written(compared, tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(144, 5))
    with torch.no_grad():
        module[1].weight.fill_(3e38)
    with pytest.raises(DataError, match="logits after of forget"):
        run(replace(compared, after=Classifier(module, 5)), tmp_path / "new", Level.QUICK)
    assert not (tmp_path / "new").exists()


def test_a_folder_without_an_audit_or_with_a_damaged_one(full, tmp_path):
    with pytest.raises(DataError, match="make it with expunge audit"):
        read_audit(tmp_path)
    (tmp_path / "audit.json").write_text("{")
    with pytest.raises(DataError, match="an audit's JSON"):
        read_audit(tmp_path)
    content = json.loads((full.folder / "audit.json").read_text())
    (tmp_path / "audit.json").write_text(json.dumps({**content, "schema_version": 2}))
    with pytest.raises(DataError, match="schema version 1"):
        read_audit(tmp_path)
    del content["figures"]
    (tmp_path / "audit.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="every part of an audit"):
        read_audit(tmp_path)


# What is gathered


def test_features_are_what_goes_into_the_last_layer(trained, other_images):
    x, labels = other_images
    images = TensorImages([str(row) for row in range(20)], labels, x)
    with torch.no_grad():
        wanted = trained.network[:-1]((x - 0.5) / 0.25)
    found = gather_features(trained, images, Runtime(batch_size=7), "features")
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_a_classifier_is_like_itself_in_every_layer(trained, other_images):
    x, labels = other_images
    images = TensorImages([str(row) for row in range(20)], labels, x)
    found = layer_similarity(trained, trained.copy(), images, Runtime(batch_size=7), "test")
    assert [each.layer for each in found] == ["0", "3", "8"]
    assert all(each.cka == pytest.approx(1) for each in found)


def test_every_classifier_answers_the_same_noised_copies(compared, tmp_path, monkeypatch):
    asked = []

    def record(classifier, x, batch_size):
        asked.append(x)
        return compute_logits(classifier, x, batch_size)

    monkeypatch.setattr(deep, "compute_logits", record)
    same = replace(compared, after=compared.before.copy(), images={})
    found = run(replace(same, known=Known(retrained_classifiers=[compared.before.copy()])), tmp_path)
    rows = found.table("residual")
    assert [row["id"] for row in rows] == list(compared.rows.ids)
    assert all(row["before"] == row["after"] == row["retrained"] for row in rows)
    assert {row["knowledge"] for row in rows} == {"1"}
    assert (found.figures["residual.knowledge"].value, found.figures["residual.rows"].value) == (1, 0)
    assert len(asked) == 3 * deep.PERTURBED_COPIES
    x, copies = compared.rows.x, torch.stack(asked[::3])
    inside = ((x > 0.2) & (x < 0.8)).expand_as(copies)
    assert (copies - x)[inside].std() == pytest.approx(0.03, rel=0.05)
    assert (copies - x)[inside].mean() == pytest.approx(0, abs=0.002)
    assert bool(((copies >= 0) & (copies <= 1)).all())


def test_copies_are_drawn_of_some_of_many_rows(compared, tmp_path, monkeypatch):
    monkeypatch.setattr(deep, "PERTURBED_ROWS", 3)
    rows = run(compared, tmp_path).table("residual")
    assert [compared.rows.ids[int(row["row"])] for row in rows] == [row["id"] for row in rows]
    assert len({row["row"] for row in rows}) == 3
    assert {row["retrained"] + row["knowledge"] for row in rows} == {""}


def test_relearning_leaves_the_classifier_alone_and_repeats(compared, trained):
    before = trained.sha256()
    curves = [
        relearn(
            trained,
            compared.images["retain"],
            compared.rows,
            name="original",
            generator=torch.Generator().manual_seed(0),
            runtime=Runtime(),
        )
        for _ in range(2)
    ]
    assert curves[0] == curves[1]
    assert curves[0].accuracy[0] == 100
    assert trained.sha256() == before
    assert not trained.module.training


def test_a_slice_shows_what_is_predicted_at_its_points(compared, trained):
    pictures = torch.cat([compared.rows.x[:1], compared.images["test"].pixels[[1, 5]]])
    cut = cut_slice(trained, compared.after, pictures, names=("a", "b", "c"), row=0, at_once=Sharing(64))
    left, right, bottom, top = cut.extent
    assert right - left == pytest.approx(top - bottom)
    a, b, c = pictures
    across = b - a
    u = cut.points[2][0]
    upward = (c - a) - u * across
    assert float((upward * across).sum()) == pytest.approx(0, abs=1e-4)
    upward = upward * across.norm() / upward.norm()
    assert torch.allclose(a + u * across + cut.points[2][1] * upward, c, atol=1e-5)
    step = (right - left) / (len(cut.before) - 1)
    for i, j in ((0, 0), (20, 31), (40, 7)):
        image = a + (left + j * step) * across + (bottom + i * step) * upward
        assert cut.before[i, j] == compute_logits(trained, image[None]).argmax()
        assert cut.after[i, j] == compute_logits(compared.after, image[None]).argmax()


def test_three_images_on_a_line_are_no_plane(compared, trained):
    a, b = compared.rows.x[:2]
    line = torch.stack([a, b, a + 0.5 * (b - a)])
    assert cut_slice(trained, trained, line, names=("a", "b", "c"), row=0, at_once=Sharing(64)) is None
    same = torch.stack([a, a, b])
    assert cut_slice(trained, trained, same, names=("a", "b", "c"), row=0, at_once=Sharing(64)) is None
