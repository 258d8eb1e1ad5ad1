import csv
import errno
import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from expunge.base.cells import escape_cell
from expunge.base.disk import sha256_file
from expunge.base.errors import ExpungeWarning, OutputError
from expunge.compute.callbacks import TracePoint
from expunge.compute.context import Cost
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.evaluation import churn, compute_logits, to_predictions
from expunge.task.goals import Misclassify, achieved
from expunge.task.result import Measured
from expunge.task.task import StopReason, Task

FILES = [
    "README.md",
    "classifier.json",
    "job.toml",
    "model.safetensors",
    "patch.safetensors",
    "predictions.csv",
    "result.json",
]


def make_edit(task, change):
    working = task.classifier.copy()
    with torch.no_grad():
        change(working.network)
    return Edit(
        task=task,
        classifier=working,
        method="by hand",
        settings={"rate": 0.5, "attack": {"steps": 3}},
        stop_reason=StopReason.STEP_LIMIT,
        steps=1,
        trace=(TracePoint(1, 0.5, {"loss": 0.25}, 2),),
        cost=Cost(1.0, {"edit": 0.5}, 6, 1024),
        achieved=achieved(task.goal, compute_logits(working, task.forget_set.x), task.labels),
    )


def lose_two_labels(network):
    network[-1].bias[:2] -= 1e3
    network[1].num_batches_tracked += 7


@pytest.fixture(scope="module")
def edit(trained, rows):
    return make_edit(Task.create(trained, rows), lose_two_labels)


def read_table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_share_of_rows_that_hold(edit):
    assert edit.achieved.tolist() == [True, True, False, False, False, True]
    assert edit.goal_achieved == 0.5


def test_predictions_before_and_after(edit, rows):
    measured = edit.predict_forget_set()
    assert torch.equal(measured.before.predicted, rows.y)
    assert torch.equal(measured.after.predicted, compute_logits(edit.classifier, rows.x).argmax(dim=1))
    assert torch.equal(measured.after.labels, rows.y)


def test_the_robust_goal_is_the_same_each_time(edit):
    robust = edit.measure_robust_goal()
    assert robust == edit.measure_robust_goal()
    assert robust.copies_per_row == 32
    assert robust.share == pytest.approx(0.5, abs=0.05)


def test_a_folder_holds_everything_and_says_so(edit, tmp_path):
    result = edit.save(tmp_path / "out")
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["files"] == {
        name: sha256_file(folder / name) for name in FILES if name not in ("result.json", "README.md")
    }


def test_the_result_in_figures(edit, rows, other_images, tmp_path):
    x, labels = other_images
    before, after = (
        to_predictions(compute_logits(each, x), labels) for each in (edit.task.classifier, edit.classifier)
    )
    result = edit.save(tmp_path, measured={"test": Measured(before, after)})
    old = compute_logits(edit.task.classifier, x).argmax(dim=1).numpy()
    new = compute_logits(edit.classifier, x).argmax(dim=1).numpy()
    assert result["before"]["test"] == {"accuracy": pytest.approx(100 * np.mean(old == labels.numpy())), "n": 20}
    assert result["after"]["test"]["accuracy"] == pytest.approx(100 * np.mean(new == labels.numpy()))
    assert result["after"]["test"]["churn"] == pytest.approx(100 * np.mean(old != new)) == churn(before, after)
    assert result["before"]["forget"] == {"accuracy": 100.0, "n": 6}
    assert result["after"]["forget"]["accuracy"] == 50.0
    assert result["measured_only"] == ["test"]
    assert result["goal_achieved"] == 0.5
    assert result["goal_achieved_robust"] == result["robust"]["share"] == edit.measure_robust_goal().share
    assert result["robust"]["worst_kind"] in result["robust"]["by_kind"]
    assert (result["stop_reason"], result["steps"], result["seed"]) == ("step_limit", 1, 0)
    assert result["inputs"]["weights_sha256"] == edit.task.classifier.sha256()
    assert result["inputs"]["forget_sha256"] == rows.sha256()
    assert result["trace"] == [{"step": 1, "seconds": 0.5, "losses": {"loss": 0.25}, "achieved": 2}]
    assert result["cost"]["gradient_evaluations"] == 6


def test_images_that_were_answered_otherwise_before_are_told(trained, rows, tmp_path):
    wrong = rows.y.clone()
    wrong[2] = (wrong[2] + 1) % trained.num_classes  # what it is answered with is neither of these
    with pytest.warns(ExpungeWarning, match="1 of 6 rows are not predicted as labelled"):
        task = Task.create(trained, ForgetSet(rows.ids, rows.x, wrong))
    result = make_edit(task, lose_two_labels).save(tmp_path)
    assert result["unchanged"] == 1
    said = (
        "The answer to 1 of 6 images is what it was before: it was answered as asked already. "
        "Perhaps its label is wrong."
    )
    assert said in result["verdict"]
    assert said in (tmp_path / "README.md").read_text()


def test_the_saved_weights_are_the_networks_own(edit, tmp_path):
    edit.save(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == edit.classifier.network.state_dict().keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in edit.classifier.network.state_dict().items())
    for name in ("model", "patch"):
        with safe_open(tmp_path / f"{name}.safetensors", "pt") as opened:
            assert opened.metadata()["weights_sha256"] == edit.classifier.sha256()
            assert opened.metadata()["base_sha256"] == edit.task.classifier.sha256()


def test_base_and_patch_are_the_edited_weights(trained, rows, tmp_path):
    def change_all(network):
        generator = torch.Generator().manual_seed(0)
        for weight in network[3:].parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
        network[1].num_batches_tracked += 7

    edit = make_edit(Task.create(trained, rows), change_all)
    edit.save(tmp_path)
    patch, base = load_file(tmp_path / "patch.safetensors"), trained.network.state_dict()
    for name, edited in edit.classifier.network.state_dict().items():
        if name not in patch:
            assert torch.equal(edited, base[name])
        elif edited.is_floating_point():
            torch.testing.assert_close(base[name] + patch[name], edited, rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(patch[name], edited)
    assert "0.weight" not in patch
    assert int(patch["1.num_batches_tracked"]) == int(base["1.num_batches_tracked"]) + 7


def test_an_edit_that_changed_nothing_has_an_empty_patch(trained, rows, tmp_path):
    edit = make_edit(Task.create(trained, rows), lambda network: None)
    edit.save(tmp_path)
    assert load_file(tmp_path / "patch.safetensors") == {}


def test_the_table_has_a_line_a_row(edit, rows, tmp_path):
    edit.save(tmp_path)
    table, measured = read_table(tmp_path / "predictions.csv"), edit.predict_forget_set()
    assert [line["id"] for line in table] == list(rows.ids)
    assert [line["goal_met"] for line in table] == ["yes", "yes", "no", "no", "no", "yes"]
    assert [int(line["label"]) for line in table] == rows.y.tolist()
    assert [int(line["predicted_before"]) for line in table] == measured.before.predicted.tolist()
    assert [int(line["predicted_after"]) for line in table] == measured.after.predicted.tolist()
    np.testing.assert_allclose(
        [float(line["confidence_after"]) for line in table], measured.after.confidence, atol=1e-6
    )
    assert {line["new_label"] for line in table} == {""}


def test_new_labels_are_in_the_table_where_the_goal_speaks_of_them(trained, relabelled, tmp_path):
    make_edit(Task.create(trained, relabelled), lose_two_labels).save(tmp_path / "relabel")
    table = read_table(tmp_path / "relabel" / "predictions.csv")
    assert [int(line["new_label"]) for line in table] == relabelled.y_new.tolist()
    make_edit(Task.create(trained, relabelled, goal=Misclassify()), lose_two_labels).save(tmp_path / "misclassify")
    assert {line["new_label"] for line in read_table(tmp_path / "misclassify" / "predictions.csv")} == {""}


def test_ids_are_no_formulas_and_survive_commas_and_line_breaks(trained, rows, tmp_path):
    names = ("=1+1", "+1", "-1", "@SUM(A1)", 'a,"b"', "two\nlines")
    make_edit(Task.create(trained, ForgetSet(names, rows.x, rows.y)), lose_two_labels).save(tmp_path)
    found = [line["id"] for line in read_table(tmp_path / "predictions.csv")]
    assert found == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", 'a,"b"', "two\nlines"]


@pytest.mark.parametrize(
    ("text", "cell"), [("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("a=1", "a=1"), ("", ""), ("x/y.png", "x/y.png")]
)
def test_escaped_cells(text, cell):
    assert escape_cell(text) == cell


def test_the_job_is_said(edit, tmp_path):
    edit.save(tmp_path / "default")
    assert tomllib.loads((tmp_path / "default" / "job.toml").read_text()) == {
        "method": "by hand",
        "goal": "misclassify",
        "strength": "exact",
        "seed": 0,
        "settings": {"rate": 0.5, "attack": {"steps": 3}},
    }
    edit.save(tmp_path / "given", job={"model": {"architecture": "cifar:resnet20"}})
    assert tomllib.loads((tmp_path / "given" / "job.toml").read_text()) == {"model": {"architecture": "cifar:resnet20"}}


def test_an_occupied_folder_is_refused_and_untouched(edit, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="expected an empty output folder, got one with files in it"):
        edit.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_saving_twice_needs_overwrite_and_replaces_everything(edit, trained, rows, tmp_path):
    first = edit.save(tmp_path)
    with pytest.raises(OutputError, match="--overwrite"):
        edit.save(tmp_path)
    other = replace(make_edit(Task.create(trained, rows), lambda network: network[-1].bias[2].sub_(1e3)), steps=9)
    second = other.save(tmp_path, overwrite=True)
    assert second["steps"] == json.loads((tmp_path / "result.json").read_text())["steps"] == 9
    assert second["files"] != first["files"]
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


@pytest.mark.parametrize("failing", FILES)
def test_a_disk_that_is_full_leaves_the_older_edit(edit, tmp_path, monkeypatch, failing):
    edit.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real = Path.replace

    def fills_up(source, target):
        if target.name == failing and target.parent != tmp_path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target)

    monkeypatch.setattr(Path, "replace", fills_up)
    with pytest.raises(OutputError, match=f"{failing}`: expected a place that can be written to, got No space left"):
        edit.save(tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("failing", FILES)
def test_a_folder_with_a_result_is_complete(edit, tmp_path, monkeypatch, failing):
    """Whichever file can't take its name, the old result is gone and no new one is there."""
    edit.save(tmp_path)
    real = Path.replace

    def fails(source, target):
        if target == tmp_path / failing:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return real(source, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OutputError, match="Permission denied"):
        edit.save(tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name for name in FILES if name != "result.json"]


def test_the_result_is_removed_first_and_written_last(edit, tmp_path, monkeypatch):
    edit.save(tmp_path)
    order, real = [], Path.replace

    def spy(source, target):
        if target.parent == tmp_path:
            order.append((target.name, (tmp_path / "result.json").exists()))
        return real(source, target)

    monkeypatch.setattr(Path, "replace", spy)
    edit.save(tmp_path, overwrite=True)
    assert [name for name, _ in order] == FILES
    assert not any(there for _, there in order)


def test_saving_leaves_both_classifiers_as_they_are(trained, rows, tmp_path):
    edit = make_edit(Task.create(trained, rows), lose_two_labels)
    edit.classifier.module.train()
    before = (edit.task.classifier.sha256(), edit.classifier.sha256())
    edit.save(tmp_path)
    assert (edit.task.classifier.sha256(), edit.classifier.sha256()) == before
    assert all(part.training for part in edit.classifier.module.modules())


def test_a_bare_classifier_is_saved_under_its_own_keys(linear_classifier, tmp_path):
    classifier = linear_classifier(3 * torch.eye(2, 144), torch.zeros(2))
    rows = ForgetSet.numbered(torch.eye(2, 144).view(2, 3, 8, 6), torch.arange(2))
    make_edit(Task.create(classifier, rows), lambda network: network[1].bias[0].add_(9)).save(tmp_path)
    assert isinstance(classifier, Classifier)
    assert set(load_file(tmp_path / "model.safetensors")) == {"1.weight", "1.bias"}
    assert set(load_file(tmp_path / "patch.safetensors")) == {"1.bias"}
