"""The small network, the images and the comparison of every golden test: nothing here is drawn by a random generator.

The weights and pixels are a hash of their position, so that they are the same numbers everywhere, with any version of
torch, and so that a script outside this repository can make them, too.

A golden file, `tests/golden/authors/NAME.json`, holds what the code of a method's authors gave here: numbers only.

    {"method": "jit", "source": "github.com/OWNER/REPOSITORY at COMMIT, FILE: FUNCTION",
     "settings": {...}, "draws": {...}, "steps": 3, "state": {"conv1.weight": [...], ...}}

`draws` are the random numbers that their code used (noise, labels, order of rows), so that ours uses the same.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.models.classifier import Classifier

CLASSES = 4
SHAPE = (3, 6, 6)
MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.24, 0.26)
BIAS = (5.886, -8.7538, 1.6401, -1.5787)
"""Balances the classes over the images below."""
FOLDER = Path(__file__).parents[1] / "golden" / "authors"


def spread(count: int, offset: int) -> Tensor:
    """Return `count` numbers within 0..1 that look random: a hash of their positions (the mixer of MurmurHash3)."""
    numbers = []
    for position in range(count):
        mixed = (offset * 1_000_003 + position + 1) % 2**32
        for factor in (0x85EBCA6B, 0xC2B2AE35):
            mixed = (mixed ^ mixed >> 15) * factor % 2**32
        numbers.append((mixed ^ mixed >> 16) / 2**32)
    return torch.tensor(numbers, dtype=torch.float64)


class GoldenNet(nn.Module):
    """Normalised images (b, 3, 6, 6) -> logits (b, 4): two convolutions with BatchNorm, pooling, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


def make_net() -> GoldenNet:
    """Return the network with its fixed weights and BatchNorm statistics, in eval mode, float32."""
    net = GoldenNet()
    with torch.no_grad():
        for offset, (name, tensor) in enumerate(net.state_dict().items()):
            if not tensor.is_floating_point():
                continue
            values = spread(tensor.numel(), offset + 1).view(tensor.shape)
            if name.endswith(("running_var", "bn1.weight", "bn2.weight")):
                values = 0.5 + values
            else:
                values = 2 * values - 1
                values *= {"conv1.weight": 0.5, "conv2.weight": 0.5, "linear.weight": 8.0}.get(name, 0.2)
            tensor.copy_(values.to(tensor.dtype))
        net.linear.bias.copy_(torch.tensor(BIAS))
    return net.eval()


def make_classifier() -> Classifier:
    """Return the network as a classifier of pixels within 0..1, normalised by `MEAN` and `STD`."""
    return Classifier.wrap(make_net(), num_classes=CLASSES, mean=MEAN, std=STD)


def make_pixels(count: int, offset: int) -> Tensor:
    """Return (count, 3, 6, 6) pixels within 0..1, float32: each image has colours of its own under the noise."""
    noise = spread(count * 108, offset).view(count, *SHAPE)
    colours = spread(count * 12, offset + 1).view(count, 3, 2, 2)
    return (0.35 * noise + 0.65 * colours.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)).to(torch.float32)


def predict_labels(x: Tensor) -> Tensor:
    """Return what the network predicts for pixels: the labels of the rows below, so that it is right about all."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    with torch.no_grad():
        return make_net()((x - mean) / std).argmax(dim=1)


def make_forget_set() -> ForgetSet:
    """Return eight rows, labelled as the network predicts them."""
    x = make_pixels(8, 100)
    return ForgetSet(tuple(f"row-{number}" for number in range(8)), x, predict_labels(x))


def make_retain() -> TensorImages:
    """Return twenty-four other images, labelled as the network predicts them."""
    x = make_pixels(24, 200)
    return TensorImages([f"other-{number}" for number in range(24)], predict_labels(x), x)


def read_golden(name: str) -> dict[str, Any]:
    """Return the golden file of that name."""
    golden: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return golden


def assert_same_change(classifier: Classifier, golden: dict[str, Any], *, tolerance: float = 1e-3) -> None:
    """Hold each floating-point tensor of the network's state to the golden one.

    The difference may be `tolerance` times the length of the authors' own change of that tensor, so a step that is
    too small, too large or of another direction is caught however small the steps are.
    """
    before, after = make_net().state_dict(), classifier.network.state_dict()
    wrong = []
    for name, values in golden["state"].items():
        theirs = torch.tensor(values, dtype=torch.float64).view(before[name].shape)
        changed = float((theirs - before[name].double()).norm())
        off = float((after[name].double().cpu() - theirs).norm())
        if off > tolerance * changed + 1e-6 * float(theirs.norm()):
            wrong.append(f"{name}: off by {off:.3g}, the authors' change is {changed:.3g}")
    assert not wrong, "\n".join(wrong)
