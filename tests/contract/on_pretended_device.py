"""What holds on every device, tried on one that is not there (see samples/pretended.py)."""

import warnings

import pytest
import torch
from pretended import NAME, pretend
from quick_methods import ROWS

from expunge.base.errors import ExpungeWarning, OutOfMemoryError
from expunge.compute.devices import find_device
from expunge.compute.float64 import to_float64
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.data.images import TensorImages
from expunge.methods import METHODS
from expunge.methods.engine import _all_finite
from expunge.methods.unlearn import make_method, unlearn
from expunge.task.evaluation import compute_logits
from expunge.task.goals import GOALS
from expunge.task.task import Limits, Strength

TWO_STEPS = Limits(steps=2)


@pytest.fixture
def retain(other_images):
    x, labels = other_images
    return TensorImages([f"other-{row}" for row in range(len(x))], labels, x)


def edit(classifier, rows, name, strength, retain, runtime=None):
    method = METHODS[name]
    rows = rows if "misclassify" in method.goals else type(rows)(rows.ids, rows.x, rows.y, (rows.y + 2) % 5)
    return unlearn(
        classifier,
        rows,
        goal=GOALS[method.goals[0]],
        method=make_method(name, ROWS[name].quick),
        strength=strength,
        retain=retain,
        runtime=runtime,
        limits=TWO_STEPS,
    )


@pytest.mark.parametrize("strength", Strength)
@pytest.mark.parametrize("name", METHODS)
def test_rows_on_the_cpu_and_the_classifier_on_a_device_without_float64(trained, rows, retain, name, strength):
    with pretend(float64=False):
        done = edit(trained.to(torch.device(NAME)), rows.rows([0, 1, 5]), name, strength, retain)
        assert done.classifier.device == torch.device(NAME, 0)
        assert 0 <= done.measure_robust_goal().share <= 1


@pytest.mark.parametrize("name", METHODS)
def test_rows_on_the_device_and_the_classifier_on_the_cpu(trained, rows, retain, name, tmp_path):
    with pretend(float64=False):
        far = rows.rows([0, 1, 5]).to(torch.device(NAME))
        done = edit(trained, far, name, Strength.EXACT, retain, Runtime.on(NAME))
        assert done.classifier.device == torch.device("cpu")
        assert done.save(tmp_path)["goal_achieved"] == done.goal_achieved


def test_a_device_has_one_name(trained):
    with pretend():
        assert Runtime.on(NAME).device == Runtime(torch.device(NAME)).device == torch.device(NAME, 0)
        far = trained.to(torch.device(NAME))
        assert far.to(torch.device(NAME)) is far
        assert find_device(NAME) == far.device


def test_double_precision_is_where_the_device_has_it():
    for has_it, where in ((True, NAME), (False, "cpu")):
        with pretend(float64=has_it):
            found = to_float64(torch.ones(2).to(NAME))
            assert (found.dtype, found.device.type) == (torch.float64, where)


def test_what_did_not_fit_once_is_not_tried_again(trained, rows, retain):
    """The first passes find out how many images fit; no later phase asks for more."""
    with pretend(largest_batch=3) as device, warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpungeWarning)
        runtime, far = Runtime.on(NAME), trained.to(torch.device(NAME))
        compute_logits(far, rows.x, runtime.sharing)
        assert runtime.sharing.batch_size == 3
        device.forget_counts()
        done = edit(far, rows, "least-change", Strength.EXACT, retain, runtime)
        assert done.cost.batch_size == 3
        done.measure_robust_goal(runtime.sharing)
        done.predict_forget_set()
        assert not device.refused


def test_where_one_image_does_not_fit_the_error_is_of_one_line(trained, rows):
    with pretend(largest_batch=0), pytest.raises(OutOfMemoryError) as error:
        compute_logits(trained.to(torch.device(NAME)), rows.x[:1], Sharing(1))
    assert str(error.value).count("\n") == 0


@pytest.mark.parametrize(("strength", "most"), [(Strength.EXACT, 6), (Strength.ROBUST, 10)])
def test_the_host_waits_seldom(trained, rows, retain, strength, most):
    """Waits of two steps are those of an edit of five steps less those of one of three."""
    waits = {}
    for steps in (3, 3, 5):  # the first one fills the cache of inverted images
        with pretend() as device:
            far = trained.to(torch.device(NAME))
            device.forget_counts()
            method = make_method("least-change", ROWS["least-change"].quick)
            unlearn(far, rows, method=method, strength=strength, limits=Limits(steps=steps))
            waits[steps] = device.waits.copy()
    of_two = waits[5] - waits[3]
    assert of_two.total() <= 2 * most
    assert sum(count for place, count in of_two.items() if place.startswith("methods/engine.py")) <= 2 * 1


def test_all_weights_are_looked_at_at_once(trained):
    with pretend() as device:
        weights = trained.to(torch.device(NAME)).module.state_dict()
        device.forget_counts()
        assert _all_finite(weights.values()).device.type == NAME
        assert device.kernels < len(weights)
        assert not device.waits
