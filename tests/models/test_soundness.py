"""Networks that can't be edited: each is an error in words, and none a traceback of torch's."""

import threading

import pytest
import torch
from torch import nn

from expunge.base.errors import ClassifierError
from expunge.models.classifier import Classifier


class WithState(nn.Linear):
    def get_extra_state(self):
        return {"classes": ["a", "b", "c"]}

    def set_extra_state(self, state):
        pass


def quantised():
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Linear(4, 3)), {nn.Linear})


def not_finite():
    layer = nn.Linear(4, 3)
    layer.weight.data[0, 0] = float("nan")
    return layer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WithState(4, 3), "a state of tensors alone, got dict"),
        (quantised, "layers of plain weights, got a quantised one"),
        (lambda: nn.LazyLinear(3), "a lazy layer that has none yet"),
        (lambda: nn.Linear(4, 3, device="meta"), "on the device meta"),
        (nn.Flatten, "one without parameters"),
        (not_finite, "finite weights"),
    ],
)
def test_what_can_not_be_edited_is_refused_in_words(make, said):
    with pytest.raises(ClassifierError, match=said):
        Classifier.wrap(nn.Sequential(nn.Flatten(), make()), num_classes=3, mean=0, std=1)


def test_a_network_that_can_not_be_copied(small_network):
    small_network.lock = threading.Lock()
    classifier = Classifier.wrap(small_network, num_classes=5, mean=0, std=1)
    with pytest.raises(ClassifierError, match="a network that can be copied, got cannot pickle"):
        classifier.copy()
