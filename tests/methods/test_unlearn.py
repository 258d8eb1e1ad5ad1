import pytest
import torch

from expunge.base.errors import ClassifierError, ExpungeWarning, ForgetSetError, SettingsError
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.methods import METHODS
from expunge.methods.published.relabel_only import RelabelOnly
from expunge.methods.unlearn import DEFAULT_METHOD, make_method, unlearn
from expunge.task.goals import Misclassify, Relabel
from expunge.task.task import Limits, StopReason, Strength, Task

ONE_STEP = Limits(steps=1)
QUICK = make_method("l2ul", {"attack": {"targets_per_row": 2, "steps": 3, "radius": 0.5}})


def test_the_main_job_in_one_call(trained, rows):
    few = rows.rows([0, 1, 5])
    edit = unlearn(trained, few)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert bool((edit.classifier(few.x).argmax(dim=1) != few.y).all())
    assert torch.equal(trained(few.x).argmax(dim=1), few.y)
    assert edit.method == DEFAULT_METHOD


def test_new_labels_are_reached_by_default(trained, relabelled):
    few = relabelled.rows([0, 1, 5])
    edit = unlearn(trained, few, method=RelabelOnly())
    assert edit.task.goal == Relabel()
    assert torch.equal(edit.classifier(few.x).argmax(dim=1), few.y_new)


def test_the_goal_can_be_said(trained, relabelled):
    edit = unlearn(trained, relabelled, goal=Misclassify(), method=QUICK, limits=ONE_STEP)
    assert edit.task.goal == Misclassify()


def test_a_method_by_name_or_with_settings_of_its_own(trained, rows):
    by_name = unlearn(trained, rows, method="relabel-only", limits=ONE_STEP)
    by_settings = unlearn(
        trained, rows, method=make_method("relabel-only", {"descent": {"momentum": 0.5}}), limits=ONE_STEP
    )
    assert by_name.method == by_settings.method == "relabel-only"
    assert by_name.settings["descent"]["momentum"] == 0.9
    assert by_settings.settings["descent"]["momentum"] == 0.5


def test_seed_limits_and_runtime_are_handed_on(trained, rows):
    edit = unlearn(trained, rows, method=QUICK, seed=7, limits=Limits(steps=2), runtime=Runtime(batch_size=1))
    assert edit.task.seed == 7
    assert edit.steps == 2
    other = unlearn(trained, rows, method=QUICK, seed=7, limits=Limits(steps=2), runtime=Runtime(batch_size=3))
    assert edit.steps == other.steps


def test_make_method_puts_settings_over_defaults():
    method = make_method("l2ul", {"attack": {"radius": 3}, "importance_weight": "0.5"})
    assert method.attack.radius == 3
    assert method.importance_weight == 0.5
    assert method.attack.steps == METHODS["l2ul"]().attack.steps
    assert make_method("l2ul") == METHODS["l2ul"]()


def test_an_unknown_method_and_an_unknown_setting():
    with pytest.raises(SettingsError, match=r"`method`: expected one of .*l2ul, l2ul-faithful, .*, got amnesia"):
        make_method("amnesia")
    with pytest.raises(
        SettingsError, match=r"`settings\.attack\.eps`: expected one of targets_per_row, radius, .*an unknown set"
    ):
        make_method("l2ul", {"attack": {"eps": 1}})


def test_an_unknown_method_is_refused_before_anything_else(trained, rows):
    wrong = ForgetSet(rows.ids, rows.x * 255, rows.y)
    with pytest.raises(SettingsError, match="`method`"):
        unlearn(trained, wrong, method="amnesia")


def test_a_goal_that_the_method_cannot_pursue(trained, relabelled):
    with pytest.raises(
        SettingsError, match="`goal`: expected misclassify with the method negative-gradient, got relabel"
    ):
        unlearn(trained, relabelled, method="negative-gradient")


class Unseen:
    """Retain data that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} of the retain data was read")


def test_retain_data_reach_only_a_method_that_declares_them(trained, rows, other_images):
    retain = TensorImages(range(20), other_images[1], other_images[0])
    withheld = unlearn(trained, rows, method=QUICK, limits=ONE_STEP, retain=Unseen())
    given = unlearn(trained, rows, method="fine-tune", limits=ONE_STEP, retain=retain)
    assert withheld.task.retain is None
    assert given.task.retain is retain


def test_a_method_that_needs_retain_data_says_so(trained, rows):
    with pytest.raises(SettingsError, match="`retain`: expected the rest of the training data for the method fine-tun"):
        unlearn(trained, rows, method="fine-tune")
    with pytest.raises(SettingsError, match="`retain`: expected the rest of the training data, got none"):
        make_method("fine-tune").run(Task.create(trained, rows), Runtime())


def test_the_edges_checks_reach_the_caller(trained, rows):
    with pytest.raises(ForgetSetError, match="`x`: expected pixels within"):
        unlearn(trained, ForgetSet(rows.ids, rows.x * 255, rows.y))
    with pytest.raises(ClassifierError, match="a weight that requires gradients"):
        unlearn(trained.frozen_copy(), rows)
    y = (rows.y + torch.tensor([1, 1, 1, 1, 0, 0])) % 5
    with pytest.raises(ForgetSetError, match="at least 50% of the forget set"):
        unlearn(trained, ForgetSet(rows.ids, rows.x, y))
    with pytest.warns(ExpungeWarning, match="4 of 6 rows"):
        unlearn(trained, ForgetSet(rows.ids, rows.x, y), method=QUICK, minimum_right=0, limits=ONE_STEP)


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
@pytest.mark.parametrize("strength", Strength)
def test_modes_that_the_caller_has_switched_change_nothing(trained, rows, mode, strength):
    settings = {
        "surrogates": {"mixes": 16, "procedural": 8, "inverted": 0},
        "exact": {"steps": 2, "surrogate_batch": 8},
        "robust": {"steps": 2, "surrogate_batch": 8, "copies": 8},
    }
    method, few = make_method("least-change", settings), rows.rows([0, 1, 5])
    expected = unlearn(trained, few, method=method, strength=strength, limits=Limits(steps=3))
    with mode():
        made_inside = ForgetSet(few.ids, few.x.clone(), few.y.clone())
        found = unlearn(trained.copy(), made_inside, method=method, strength=strength, limits=Limits(steps=3))
    assert found.stop_reason == expected.stop_reason
    assert found.classifier.sha256() == expected.classifier.sha256()


@pytest.mark.parametrize("method", ["l2ul", "negative-gradient", "delete"])
def test_other_methods_can_be_called_in_inference_mode(trained, rows, method):
    few = rows.rows([0, 1, 5])
    expected = unlearn(trained, few, method=method, limits=ONE_STEP)
    with torch.inference_mode():
        found = unlearn(trained, few, method=method, limits=ONE_STEP)
    assert found.trace[0].losses == expected.trace[0].losses
