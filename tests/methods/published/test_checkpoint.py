"""Edits by epochs that were killed go on from their checkpoint, to the same bits."""

import pytest
from quick_methods import ROWS
from torch import nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.compute.context import Context
from expunge.compute.processes import Alone
from expunge.compute.runtime import Runtime
from expunge.compute.time_limit import STEPS
from expunge.methods import METHODS
from expunge.methods.published import epochs
from expunge.methods.published.checkpoint import EditCheckpoint
from expunge.methods.published.epochs import Trainer
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.classifier import Classifier
from expunge.task.task import Task

BY_EPOCHS = ("amun", "amun-retain", "bad-teacher", "fine-tune", "imu", "jit", "l1-sparse", "neggrad-plus")
BY_EPOCHS += ("random-label", "retrain", "salun", "scrub")
EPOCHS = 4


class Killed(BaseException):
    """What no method catches."""


def edit(classifier, rows, retain, name, checkpoint=None, *, killed_after=None, **settings):
    """Return the edit, or what the callback raises when that many epochs are over."""

    def watch(point):
        if point.step == killed_after:
            raise Killed

    training = {**ROWS[name].quick["training"], "epochs": EPOCHS, "augmentation": "flips_and_crops", **settings}
    method = make_method(name, {**ROWS[name].quick, "training": training})
    runtime = Runtime(checkpoint=checkpoint, callbacks=(watch,))
    return unlearn(classifier, rows, method=method, retain=retain, runtime=runtime)


@pytest.fixture
def with_dropout(trained):
    """Return the shared classifier with dropout before its last layer."""
    *layers, last = trained.copy().network
    network = nn.Sequential(*layers, nn.Dropout(0.3), last).eval()
    return Classifier.wrap(network, num_classes=5, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def spent(one):
    """Return what an edit took, but for the time."""
    return one.cost.gradient_evaluations, one.cost.examples, one.cost.examples_reached, [*one.cost.seconds_by_phase]


@pytest.mark.parametrize("name", BY_EPOCHS)
def test_killed_after_an_epoch_it_goes_on_to_the_same_weights(with_dropout, rows, retain, tmp_path, name):
    whole = edit(with_dropout, rows, retain, name)
    checkpoint = tmp_path / "checkpoint.safetensors"
    for epoch in (2, 4):  # of the epoch in which it is killed nothing is kept
        with pytest.raises(Killed):
            edit(with_dropout, rows, retain, name, checkpoint, killed_after=epoch)
    again = edit(with_dropout, rows, retain, name, checkpoint)
    assert again.classifier.sha256() == whole.classifier.sha256()
    assert [(point.step, point.losses) for point in again.trace] == [
        (point.step, point.losses) for point in whole.trace
    ]
    assert spent(again) == spent(whole)
    seconds = [point.seconds for point in again.trace]
    assert seconds == sorted(seconds)
    assert again.cost.seconds_by_phase[STEPS] > 0
    assert (again.steps, again.stop_reason) == (EPOCHS, whole.stop_reason)


def test_every_method_by_epochs_is_among_them(with_dropout, rows, retain, monkeypatch):
    asked = set()

    class Asked(EditCheckpoint):
        def __init__(self, method, task, trainer):
            asked.add(method["name"])
            super().__init__(method, task, trainer)

    monkeypatch.setattr(epochs, "EditCheckpoint", Asked)
    for name in METHODS:
        if "training" in ROWS[name].quick:
            edit(with_dropout, rows, retain, name, augmentation="none", epochs=1)
    assert asked == set(BY_EPOCHS)


@pytest.mark.parametrize("other", [{"learning_rate": 0.02}, {"epochs": 3}])
def test_the_checkpoint_of_another_edit_is_passed_over(with_dropout, rows, retain, tmp_path, other):
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Killed):
        edit(with_dropout, rows, retain, "fine-tune", checkpoint, killed_after=2)
    one, anew = (edit(with_dropout, rows, retain, "fine-tune", path, **other) for path in (checkpoint, None))
    assert one.classifier.sha256() == anew.classifier.sha256()
    assert one.cost.gradient_evaluations == anew.cost.gradient_evaluations


def test_a_damaged_checkpoint_is_named(with_dropout, rows, retain, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"half of a")
    with pytest.raises(ClassifierError, match=r"checkpoint.safetensors.*delete it to start anew"):
        edit(with_dropout, rows, retain, "fine-tune", checkpoint)


def test_where_nothing_can_be_written_the_edit_goes_on_without(with_dropout, rows, retain, tmp_path):
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.warns(ExpungeWarning, match="an edit that is killed will begin anew") as warned:
        one = edit(with_dropout, rows, retain, "fine-tune", occupied / "checkpoint.safetensors")
    assert len(warned) == 1
    assert one.steps == EPOCHS


def test_one_of_several_processes_keeps_nothing(with_dropout, rows, retain, tmp_path):
    class OneOfTwo(Alone):
        count = 2

    checkpoint, method = tmp_path / "checkpoint.safetensors", make_method("fine-tune", ROWS["fine-tune"].quick)
    for processes, kept in ((OneOfTwo(), False), (Alone(), True)):
        runtime = Runtime(checkpoint=checkpoint, processes=processes)
        task = Task.create(with_dropout, rows, retain=retain)
        trainer = Trainer(task, with_dropout.copy(), method.training, Context(runtime))
        EditCheckpoint({"name": method.name}, task, trainer).write([])
        assert checkpoint.exists() == kept
