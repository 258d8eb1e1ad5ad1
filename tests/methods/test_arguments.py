"""Strings, settings, devices and progress as `unlearn` takes them; the objects it takes are in tests/contract."""

import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.base.errors import ExpungeWarning, ForgetSetError, SettingsError
from expunge.compute.bars import Bars, in_notebook
from expunge.compute.runtime import SILENT, Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.arguments import Where, read_goal, read_inputs, read_limits, read_strength, read_transforms
from expunge.methods.unlearn import Interrupted, make_method, unlearn
from expunge.models.pixels import Bounds
from expunge.task.goals import Correct, Misclassify, Relabel
from expunge.task.task import Limits, StopReason, Strength
from expunge.task.transforms import TRANSFORMS


class Unread:
    """A model and images that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was read")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"strength": "strong"}, "`strength`: expected one of exact, robust, got 'strong'"),
        ({"goal": "forget"}, "`goal`: expected one of misclassify, relabel, correct, unseen, auto, got forget"),
        ({"device": "abacus"}, "`device`: expected a device that this machine has, got abacus; such as cpu, cuda"),
        ({"method": "amnesia"}, "`method`: expected one of"),
        ({"transforms": "mirored"}, "mirored"),
        ({"transforms": {}}, "`transforms`: expected different names, at least one, got none"),
        ({"progress": 3}, "`progress`: expected True, False or an object with `phase`, got 3"),
        ({"ratte": 1}, "`settings.ratte`: expected one of .*rate.*, got an unknown setting"),
        ({"rate": "wide"}, "`settings.rate`: expected a number, got 'wide'"),
        ({"method": "l2ul", "attack__radius": -1}, "`settings.attack.radius`: expected above 0"),
        (
            {"limits": Limits(steps=1), "max_steps": 1},
            "`limits`: expected limits=, or max_steps= and max_seconds=, got b",
        ),
        ({"max_seconds": 0}, "`max_seconds`: expected above 0"),
        ({"max_seconds": "9"}, "`max_seconds`: expected a number or none, got '9'"),
        ({"max_steps": "2"}, "`max_steps`: expected a whole number or none, got '2'"),
        ({"max_steps": 2.5}, "`max_steps`: expected a whole number or none, got 2.5"),
        ({"batch_size": "8"}, "`batch_size`: expected a whole number or none, got '8'"),
        ({"seed": "a"}, "`seed`: expected a whole number, got 'a'"),
        ({"seed": 1.5}, "`seed`: expected a whole number, got 1.5"),
        ({"seed": None}, "`seed`: expected a whole number, got None"),
        ({"seed": True}, "`seed`: expected a whole number, got True"),
        ({"seed": -1}, "`seed`: expected at least 0, got -1"),
        ({"minimum_right": 50}, r"`minimum_right`: expected at least 0 and at most 1, got 50; as a share, 50% is 0\.5"),
        ({"minimum_right": -0.1}, r"`minimum_right`: expected at least 0 and at most 1, got -0\.1$"),
        ({"minimum_right": "half"}, "`minimum_right`: expected a number, got 'half'"),
        (
            {"indicies": [3]},
            r"`indicies`: expected an argument of unlearn, or a setting of .*, got .*; did you mean `indices`\?",
        ),
        ({"method": make_method("l2ul"), "max_step": 3}, r"`max_step`: .*; did you mean `max_steps`\?"),
        ({"method": "l2ul", "radius": 3}, r"`settings.radius`: expected one of .*; did you mean `attack.radius`\?"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_read(said, words):
    with pytest.raises(SettingsError, match=words):
        unlearn(Unread(), Unread(), **said)


def test_new_labels_that_are_drawn_or_not_used_are_noted(trained, rows):
    with pytest.warns(ExpungeWarning, match="no new labels are given, so they are drawn at random"):
        unlearn(trained, rows, goal="relabel", method="relabel-only", max_steps=1)
    new = (rows.y + 1) % trained.num_classes
    given = ForgetSet(rows.ids, rows.x, rows.y, new)
    with pytest.warns(ExpungeWarning, match="the new labels are not used: the goal is misclassify"):
        unlearn(trained, given, goal="misclassify", method="relabel-only", max_steps=1)
    unlearn(trained, given, goal="relabel", method="relabel-only", max_steps=1)


def test_numbers_of_numpy_are_numbers(trained, rows):
    said = {
        "seed": np.int64(3),
        "max_steps": np.int32(1),
        "max_seconds": np.float32(99),
        "minimum_right": np.float64(0),
    }
    edit = unlearn(trained, rows, method="relabel-only", **said)
    assert (edit.task.seed, type(edit.task.seed), edit.task.limits.steps) == (3, int, 1)


def test_strings_mean_what_they_name(trained, rows):
    edit = unlearn(
        trained,
        rows,
        goal="misclassify",
        strength="exact",
        transforms="mirrored,noised",
        method="l2ul",
        max_steps=1,
        attack__steps=3,
        attack__targets_per_row=2,
    )
    assert edit.task.strength is Strength.EXACT
    assert edit.task.goal == Misclassify()
    assert list(edit.task.transforms) == ["mirrored", "noised"]
    assert (edit.settings["attack"]["steps"], edit.settings["attack"]["targets_per_row"]) == (3, 2)
    assert edit.steps == 1


def test_settings_over_a_method_of_ones_own(trained, rows):
    own = make_method("relabel-only", {"descent": {"momentum": 0.5}})
    edit = unlearn(trained, rows, method=own, descent__learning_rate=1e-4, max_steps=1)
    assert (edit.settings["descent"]["momentum"], edit.settings["descent"]["learning_rate"]) == (0.5, 1e-4)


def test_mistakes_are_corrected(trained, rows):
    wrong = (rows.y + 1) % 5
    edit = unlearn(trained, (rows.x[:2], wrong[:2]), goal="correct", method="relabel-only")
    assert edit.task.goal == Correct()
    assert torch.equal(edit.task.forget_set.y, rows.y[:2])
    assert torch.equal(edit.classifier(rows.x[:2]).argmax(dim=1), wrong[:2])


def test_the_readers_of_single_arguments():
    assert read_goal(None) is read_goal("auto") is None
    assert read_goal(Relabel()) == read_goal("relabel")
    assert read_strength(None) is None
    assert read_strength("robust") is read_strength(Strength.ROBUST) is Strength.ROBUST
    assert read_transforms(None) is TRANSFORMS
    assert list(read_transforms(["noised"])) == ["noised"]
    assert read_transforms(TRANSFORMS) == TRANSFORMS
    own = read_transforms({"halved": lambda x, bounds, generator: x[:, :, ::2]})["halved"]
    with pytest.raises(SettingsError, match=r"`halved`: expected finite pixels of shape \(1, 3, 4, 4\)"):
        own(torch.zeros(1, 3, 4, 4), Bounds(), torch.Generator())
    assert read_limits(Limits(steps=3), None, None) == Limits(steps=3)
    assert read_limits(Limits(), 3, 4.0) == Limits(3, 4.0)


def test_retain_data_of_the_same_object_lack_the_rows_to_forget(trained, rows):
    data = [(image, int(label)) for image, label in zip(rows.x, rows.y, strict=True)]
    edit = unlearn(trained, data, indices=[1, 4], retain=data, method="fine-tune", max_steps=1)
    assert list(edit.task.retain.ids) == ["0", "2", "3", "5"]
    assert torch.equal(edit.task.retain.load([1]), rows.x[2:3])


class Kernel:
    """What IPython's function gives in a notebook."""


def test_bars_are_shown_in_notebooks_and_wherever_they_are_wanted(trained, monkeypatch):
    assert not in_notebook()
    assert Where().runtime_for(trained).progress is SILENT
    shell = type("ZMQInteractiveShell", (), {})
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": shell}))
    assert in_notebook()
    assert isinstance(Where().runtime_for(trained).progress, Bars)
    assert Where(progress=False).runtime_for(trained).progress is SILENT
    assert Where(Runtime()).runtime_for(trained).progress is SILENT
    own = Bars()
    assert Where(Runtime(), progress=own).runtime_for(trained).progress is own


def test_device_and_batch_size_over_a_runtime(trained):
    found = Where(Runtime(batch_size=7), device="cpu").runtime_for(trained)
    assert (found.device.type, found.batch_size) == ("cpu", 7)
    assert Where(device=torch.device("cpu"), batch_size=3).runtime_for(trained).batch_size == 3


class Impatient:
    """Progress during which somebody presses Ctrl-C at the second step."""

    @contextmanager
    def phase(self, name, total):
        steps = []

        def advance(units):
            steps.append(units)
            if name == "edit" and len(steps) == 2:
                raise KeyboardInterrupt

        yield advance


def test_ctrl_c_ends_a_loop_over_edits_and_the_best_state_is_kept(trained, rows):
    begun = []

    def loop():
        for number in range(3):
            begun.append(number)
            unlearn(trained, rows, method="relabel-only", descent__learning_rate=1e-6, progress=Impatient())

    with pytest.raises(KeyboardInterrupt) as stopped:
        loop()
    assert begun == [0]
    assert isinstance(stopped.value, Interrupted)
    edit = stopped.value.edit
    assert (edit.stop_reason, edit.steps) == (StopReason.INTERRUPTED, 2)
    assert tuple(edit.classifier(rows.x).shape) == (6, 5)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_pixels_in_another_number_format_are_converted(trained, rows, kind):
    given = ForgetSet(rows.ids, rows.x.to(kind), rows.y)
    edit = unlearn(trained, given, method="relabel-only", max_steps=1, minimum_right=0)
    assert edit.task.forget_set.x.dtype == torch.float32
    as_double = replace(trained, module=trained.copy().module.double())
    assert read_inputs(as_double, given, None, None).forget_set.x.dtype == torch.float64


@pytest.mark.parametrize(
    ("labels", "new", "words"),
    [
        ([0, 7, 9], None, r"`label`: expected labels in 0\.\.4, got label 7 of image b and 1 more; check the"),
        ([0, 1, 2], [1, 2, 5], r"`new label`: expected new labels in 0\.\.4, got new label 5 of image c; check"),
    ],
)
def test_a_label_beyond_the_classes_is_named_with_its_image(trained, rows, labels, new, words):
    given = ForgetSet(("a", "b", "c"), rows.x[:3], torch.tensor(labels), None if new is None else torch.tensor(new))
    with pytest.raises(ForgetSetError, match=words):
        unlearn(trained, given, method="relabel-only")


def test_what_is_right_already_is_not_corrected(trained, rows):
    with pytest.raises(
        ForgetSetError, match=r"`goal`: .* wrongly, .* that it answers correctly already: .*; leave them out"
    ):
        unlearn(trained, rows, goal="correct", method="relabel-only")
