"""Zero retrain forgetting, and the classifiers with random weights that it needs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch import nn

from expunge.audit.collect.untrained import DRAWS, answer_untrained
from expunge.audit.figures.table import compute_figures
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.retrained import zero_retrain_forgetting
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier


@pytest.fixture
def classifier():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    network[1].running_mean.fill_(7)
    return Classifier.wrap(network, num_classes=5, mean=0.0, std=1.0)


def test_the_figure_is_that_of_an_independent_computation():
    rng = np.random.default_rng(0)
    own, others = rng.normal(size=(6, 4)), rng.normal(size=(3, 6, 4))
    found = zero_retrain_forgetting(own, list(others))
    apart = [jensenshannon(softmax(own, 1), softmax(one, 1), base=2, axis=1) ** 2 for one in others]
    assert found.value == pytest.approx(1 - np.mean(apart))
    assert found.interval[0] < found.value < found.interval[1]


def test_it_is_one_for_equal_answers_and_zero_for_answers_that_exclude_each_other():
    logits = np.array([[90.0, 0.0], [0.0, 90.0]])
    assert zero_retrain_forgetting(logits, [logits]).value == 1
    assert zero_retrain_forgetting(logits, [logits[::-1]]).value == pytest.approx(0)


def test_untrained_classifiers_know_nothing_of_the_weights_and_depend_on_the_seed_alone(classifier):
    rows = ForgetSet(("a", "b"), torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    before, state = classifier.sha256(), torch.get_rng_state()
    found = answer_untrained(classifier, rows, 3, Runtime())
    assert found.shape == (DRAWS, 2, 5)
    assert len({each.tobytes() for each in found}) == DRAWS
    assert classifier.sha256() == before
    assert torch.equal(torch.get_rng_state(), state)
    for weight in classifier.network.parameters():
        weight.data.mul_(-3)
    assert np.array_equal(answer_untrained(classifier, rows, 3, Runtime()), found)
    assert not np.array_equal(answer_untrained(classifier, rows, 4, Runtime()), found)


def test_weights_that_no_class_can_draw_make_it_undefined(classifier):
    network = nn.Sequential(classifier.network)
    network.token = nn.Parameter(torch.ones(3))
    rows = ForgetSet(("a",), torch.rand(1, 3, 8, 8), torch.tensor([0]))
    with pytest.raises(NotDefinedError, match=r"weights can't be drawn anew: .*network \(Sequential\); give them"):
        answer_untrained(Classifier.wrap(network, num_classes=5), rows, 3, Runtime())


@pytest.mark.parametrize(("case", "flagged"), [("unedited", True), ("retrained", False), ("constant", False)])
def test_the_known_cases(world, case, flagged):
    # a constant classifier that is no surer than retrained ones is not found, see docs/audit.md
    data = world.gathered(case)
    rng = np.random.default_rng(1)
    untrained = rng.normal(size=(5, *data.forget.after.shape)).astype(np.float32) * 0.1
    figures = compute_figures(replace(data, deep=replace(data.deep, untrained=untrained)))
    assert figures["zrf.after"].flagged is flagged
    assert figures["zrf.after"].target == figures["zrf.retrained"].value
    alone = compute_figures(replace(data, retrained=None, deep=replace(data.deep, untrained=untrained)))
    assert (alone["zrf.after"].flagged, alone["zrf.after"].target) == (None, None)
    assert alone["zrf.after"].value == figures["zrf.after"].value
    assert alone["zrf.retrained"].reason == "there is no retrained classifier"


def test_the_reason_is_that_of_the_architecture(world):
    data = world.gathered("unedited")
    figures = compute_figures(replace(data, deep=replace(data.deep, reasons={"untrained": "of stone"})))
    assert figures["zrf.before"].reason == "of stone"
