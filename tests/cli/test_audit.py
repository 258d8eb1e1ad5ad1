import csv
import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from expunge.audit.audit_json import read_audit
from expunge.data import DataRequest, forget_set, load_data
from expunge.methods import METHODS
from expunge.methods.protocol import revision_of
from expunge.methods.unlearn import unlearn
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource, load_classifier

QUICK_FILES = {"audit.json", "predictions.npz", "images", "report.html"}
PRE = ["--mean", "0.5", "--std", "0.25", "--data", "npz:images.npz", "--device", "cpu"]


@pytest.fixture
def edited(expunge, job):
    """Return the folder of a finished run, made in the job's folder."""
    done = expunge(*job.flags, "--forget-random", 4, "--seed", 2, "--out", "edited")
    assert done.reached, done.err
    return job.folder / "edited"


def test_run_audits_its_edit_without_touching_the_result(expunge, job, edited):
    done = expunge(*job.flags, "--forget-random", 4, "--seed", 2, "--audit", "quick", "--out", "audited")
    assert done.reached, done.err
    folder = job.folder / "audited" / "audit"
    assert {path.name for path in folder.iterdir()} >= QUICK_FILES
    audit, result = read_audit(folder), json.loads((job.folder / "audited" / "result.json").read_text())
    plain = json.loads((edited / "result.json").read_text())
    assert {name: result[name] for name in ("before", "after", "robust")} == {
        name: plain[name] for name in ("before", "after", "robust")
    }
    assert audit.figures["goal.exact"].value == 100 * result["goal_achieved"]
    assert audit.figures["goal.robust"].value == pytest.approx(100 * result["robust"]["share"])
    assert audit.figures["churn.test"].value == pytest.approx(result["after"]["test"]["churn"], rel=1e-4)
    assert audit.figures["accuracy.retain_after"].value == pytest.approx(
        result["after"]["retain"]["accuracy"], rel=1e-4
    )
    assert audit.figures["cost.seconds"].value == pytest.approx(result["cost"]["seconds"], rel=1e-4)
    assert audit.subject.method == "l2ul"
    assert audit.subject.used_by_edit == ("forget",)
    assert audit.verdict[0] in done.out
    written = tomllib.loads((job.folder / "audited" / "job.toml").read_text())
    assert written["audit"] == {"level": "quick", "images": True}
    content = (folder / "audit.json").read_bytes()
    done = expunge("report", "audited", "--recompute")
    assert done.code == 0, done.err
    assert (folder / "audit.json").read_bytes() == content


def test_a_run_without_audit_removes_that_of_the_edit_it_replaces(expunge, job):
    flags = [*job.flags, "--forget-random", 4, "--out", "edited", "--overwrite"]
    expunge(*flags, "--audit", "quick")
    assert (job.folder / "edited" / "audit" / "report.html").exists()
    assert expunge(*flags).reached
    assert list((job.folder / "edited" / "audit").iterdir()) == []


def test_no_images_leaves_them_out(expunge, job):
    done = expunge(*job.flags, "--forget-random", 4, "--out", "edited", "--audit", "quick", "--no-images")
    assert done.reached, done.err
    assert not list((job.folder / "edited" / "audit").glob("images/*"))
    assert "data:image/png" not in (job.folder / "edited" / "audit" / "report.html").read_text()


def test_audit_of_a_run_says_what_the_run_says(expunge, job, edited):
    done = expunge("audit", "edited", "--allow-code", "--level", "quick")
    assert done.code == 0, done.err
    audit, result = read_audit(edited / "audit"), json.loads((edited / "result.json").read_text())
    assert audit.figures["goal.robust"].value == pytest.approx(100 * result["robust"]["share"])
    assert audit.subject.forget_sha256 == result["inputs"]["forget_sha256"]
    assert audit.subject.before["weights_sha256"] == result["inputs"]["weights_sha256"]
    assert audit.figures["cost.gradients_per_row"].value == result["cost"]["gradient_evaluations"] / 4
    assert audit.tables["cost"].file == "cost.csv"
    with (edited / "predictions.csv").open() as stream:
        assert [row["id"] for row in audit.table("rows")] == [row["id"] for row in csv.DictReader(stream)]


def test_any_two_classifiers_can_be_compared(expunge, job, edited):
    weights = {
        name: tensor + 0.01 for name, tensor in load_file("weights.safetensors").items() if tensor.is_floating_point()
    }
    save_file({**load_file("weights.safetensors"), **weights}, "other.safetensors")
    sides = ["--before-model", "tiny_networks:build", "--before-weights", "weights.safetensors"]
    flags = [*sides, "--after-weights", "other.safetensors", *PRE, "--forget-indices", "3,17", "--goal", "misclassify"]
    done = expunge("audit", *flags, "--level", "quick", "-o", "compared")
    assert done.code == 0, done.err
    audit = read_audit(job.folder / "compared")
    assert audit.figures["cost.seconds"].reason == "it is not known what the edit took"
    assert audit.figures["goal.exact"].value == 0
    assert audit.figures["goal.exact"].flagged
    assert audit.subject.method is None
    assert audit.subject.used_by_edit == ()
    assert [row["id"] for row in audit.table("rows")] == ["3", "17"]


def test_pools_are_trained_once_and_compared_with(expunge, job, edited, monkeypatch):
    pools = ["--shadows", "pool", "--make-shadows", 4, "--retrained", "pool", "--make-retrained", 2]
    quick = ["--recipe", "digits", "--set", "epochs=2", "--level", "quick"]
    done = expunge("audit", "edited", "--allow-code", *pools, *quick)
    assert done.code == 0, done.err
    audit = read_audit(edited / "audit")
    names = ["retrained.gap", "retrained.tug_of_war", "rmia.auc_after", "ulira.auc", "ulira_edited.auc"]
    assert all(audit.figures[name].value is not None for name in [*names, "klom.test"])
    assert "8 shadow classifiers in all" in audit.figures["klom.forget"].reason
    assert audit.figures["rmia.tpr_after"].reason.startswith("a share of 1% takes at least 100")
    assert [row["kind"] for row in audit.table("pools")] == ["shadow"] * 4 + ["retrained"] * 2
    assert audit.subject.pools["shadow"].startswith("4 of tiny_networks:build, trained on 30 images for 2 epochs")
    assert audit.subject.pools["retrained"].startswith("2 of tiny_networks:build, trained on 56 images")
    with np.load(edited / "audit" / "pools.npz") as arrays:
        assert (arrays["shadow.seen"].sum(axis=0) == 2).all()
    trained = {path: path.stat().st_mtime_ns for path in (job.folder / "pool").rglob("*") if path.is_file()}
    again = (edited / "audit" / "audit.json").read_bytes()
    assert expunge("audit", "edited", "--allow-code", *pools, *quick).code == 0
    assert {path: path.stat().st_mtime_ns for path in (job.folder / "pool").rglob("*") if path.is_file()} == trained
    assert (edited / "audit" / "audit.json").read_bytes() == again
    alone = ["--shadows", "pool", "--retrained", "pool", "--level", "quick"]
    assert expunge("audit", "edited", "--allow-code", *alone).code == 0
    assert (edited / "audit" / "audit.json").read_bytes() == again
    method = METHODS[audit.subject.method]
    monkeypatch.setattr(method, "revision", revision_of(method) + 1, raising=False)
    assert expunge("audit", "edited", "--allow-code", *pools, *quick).code == 0
    more = {path.name for path in (job.folder / "pool").rglob("*") if path.is_file() and path not in trained}
    assert len(more) == 4, "what each shadow classifier answers after unlearning by the newer code"
    assert all(name.startswith("unlearned-") for name in more)


def test_classifiers_that_expunge_train_made_are_a_pool(expunge, job, edited):
    flags = ["--model", "tiny_networks:build", *PRE, "--recipe", "digits", "--set", "epochs=2", "--num-classes", 3]
    expunge("train", *flags, "--leave-out-run", "edited", "--out", "others/a")
    assert expunge("audit", "edited", "--allow-code", "--retrained", "others", "--level", "quick").code == 0
    assert read_audit(edited / "audit").figures["retrained.gap"].value is not None
    expunge("train", *flags, "--leave-out-rows", "0", "--out", "others/b")
    done = expunge("audit", "edited", "--allow-code", "--retrained", "others", "--level", "quick")
    assert done.code == 2
    assert "a classifier that never saw the rows to forget, got one trained on" in done.err


def test_a_pool_of_other_rows_and_one_of_several_are_named(expunge, job, edited):
    pool = ["--retrained", "pool", "--level", "quick", "--allow-code"]
    quick = ["--recipe", "digits", "--set", "epochs=1", "--make-retrained", 1]
    assert expunge("audit", "edited", *pool, *quick).code == 0
    [made] = (job.folder / "pool").iterdir()
    expunge(*job.flags, "--forget-random", 3, "--seed", 5, "--out", "other")
    for flags, kind in (
        (pool, "classifiers that left out these rows"),
        (["--shadows", *pool[1:]], "shadow classifiers"),
    ):
        done = expunge("audit", "other", *flags)
        assert done.code == 2
        assert f"`pool`: expected {kind}, trained on these images, got pools of others: pool/{made.name}" in done.err
    assert expunge("audit", "edited", *pool, *quick, "--set", "learning_rate=0.03").code == 0
    done = expunge("audit", "edited", *pool)
    assert done.code == 2
    assert "expected one pool of classifiers that left out these rows, got pool/" in done.err
    assert expunge("audit", "edited", *pool[:1], f"pool/{made.name}", *pool[2:]).code == 0
    assert expunge("audit", "edited", *pool, *quick[:-2]).code == 0


def test_the_folder_of_a_saved_edit_is_audited_with_what_it_does_not_say(expunge, job):
    classifier = load_classifier(
        ModelSource("tiny_networks:build", Path("weights.safetensors"), normalisation=Normalisation((0.5,), (0.25,)))
    ).classifier
    train = load_data("npz:images.npz", DataRequest()).train
    chosen = forget_set(train, [3, 17])
    unlearn(classifier, chosen, method="l2ul", seed=2).save("saved")
    flags = ["--model", "tiny_networks:build", "--weights", "weights.safetensors", *PRE, "--forget-indices", "3,17"]
    done = expunge("audit", "saved", *flags, "--level", "quick")
    assert done.code == 0, done.err
    assert "its page is saved/audit/report.html" in done.out
    assert expunge("report", "saved").code == 0
    done = expunge("run", "--config", "saved/job.toml", *flags, "--out", "again")
    assert done.code in (0, 5), done.err
    saved, again = (json.loads(Path(name, "result.json").read_text())["inputs"] for name in ("saved", "again"))
    assert saved.items() <= again.items(), "only a run knows all images of the source"
    done = expunge("audit", "saved", "--level", "quick")
    assert done.code == 2
    assert (
        "`--model`: expected the classifier, got none, and saved holds only what Python knew; say --model" in done.err
    )
    assert "expunge.audit_edit" in done.err


BAD_USAGE = {
    (): "`--after-weights`: expected the weights after the edit",
    ("edited", "--forget-indices", "3"): "nothing that the run says already",
    ("edited", "--model", "tiny_networks:build"): "nothing that the run says already",
    ("edited", "--retrained", "nowhere"): "folders that expunge train wrote",
    ("edited", "--make-shadows", "4"): "a folder for the classifiers, got only their number, 4",
    ("edited", "--shadows", "pool", "--make-shadows", "many"): "`--make-shadows`: expected a whole number",
    ("edited", "--shadows", "pool", "--make-shadows", "3"): "`--make-shadows`: expected an even number",
    ("edited", "--retrained", "pool", "--make-retrained", "0"): "`--make-retrained`: expected at least 1",
    ("edited", "--set", "epochs"): "expected NAME=VALUE",
    ("edited", "--set", "epochs=3"): "`--set`: expected none where no other classifiers are named, got epochs=3",
    ("edited", "--recipe", "digits"): "`--recipe`: expected none where no other classifiers are named, got digits",
    ("edited", "--out", "occupied"): "an empty output folder",
}


def test_bad_usage_is_exit_code_2_and_says_why(expunge, job, edited):
    (job.folder / "occupied").mkdir()
    (job.folder / "occupied" / "mine.txt").write_text("")
    for flags, words in BAD_USAGE.items():
        done = expunge("audit", "--allow-code", *flags)
        assert done.code == 2
        assert words in done.err, done.err


def test_an_audit_of_other_weights_than_the_runs_is_refused(expunge, job, edited):
    weights = load_file("weights.safetensors")
    save_file(
        {name: tensor.clone() + 1 if tensor.is_floating_point() else tensor for name, tensor in weights.items()},
        "weights.safetensors",
    )
    done = expunge("audit", "edited", "--allow-code", "--level", "quick")
    assert done.code == 2
    assert "the weights that the run was given, got others" in done.err


def test_an_incomplete_run_is_refused(expunge, job, edited):
    (edited / "result.json").unlink()
    done = expunge("audit", "edited", "--allow-code", "--level", "quick")
    assert done.code == 2
    assert "is the run complete?" in done.err
    shutil.rmtree(edited)
    assert expunge("audit", "edited", "--allow-code").code == 2
