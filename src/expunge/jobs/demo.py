"""The whole job on data that comes with the package: scikit-learn's handwritten digits."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from expunge.base.disk import write_bytes
from expunge.base.tensors import write_tensors
from expunge.compute.runtime import Progress, Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Bounds, Classifier
from expunge.models.modes import BatchNormMode, editing
from expunge.task.edit import Edit, Measured
from expunge.task.evaluation import predict

FORGET_ROWS = 16
EPOCHS = 40
BATCH = 64
BRIGHTEST = 16.0
COPIED_ROW = 12


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 images of 8x8 pixels, a quarter of them for testing."""

    train: TensorImages
    test: TensorImages


def load_digit_images() -> Digits:
    """Return scikit-learn's digits, split by class with a fixed seed; pixels within 0..1, shape (n, 1, 8, 8)."""
    bunch = load_digits()
    x, y = bunch.images[:, None].astype("float32") / BRIGHTEST, bunch.target.astype("int64")
    rows = train_test_split(range(len(y)), test_size=0.25, random_state=0, stratify=y)
    train, test = (
        TensorImages([f"digit-{row}" for row in part], torch.from_numpy(y[part]), torch.from_numpy(x[part]))
        for part in rows
    )
    return Digits(train, test)


class DigitNet(nn.Module):
    """Three convolutions with BatchNorm, global average pooling, one linear layer: 25 thousand weights."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels, stride in ((1, 16, 1), (16, 32, 2), (32, 64, 1)):
            layers += [
                nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.linear = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, 10) for images (b, 1, 8, 8)."""
        logits: Tensor = self.linear(self.features(x))
        return logits


def train_digit_classifier(images: TensorImages, *, seed: int, progress: Progress) -> Classifier:
    """Return a classifier trained on `images` by Adam with a one-cycle rate; over 97% right on unseen digits."""
    generator = seeded_generator(seed, "digits")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # layers draw their first weights from the global generator, forked here
        network = DigitNet()
    steps = EPOCHS * -(-len(images.labels) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    with progress.phase("train", EPOCHS) as advance, editing(network, BatchNormMode.BATCH):
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(images.labels), generator=generator).split(BATCH):
                loss = F.cross_entropy(network(images.pixels[rows]), images.labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            advance(1)
    return Classifier.wrap(network.eval(), num_classes=10)


def run_demo(out: Path, *, method: str, seed: int, progress: Progress) -> tuple[Edit, Mapping[str, Any]]:
    """Train, forget 16 training images, measure and save to `out`; return the edit and the result."""
    digits = load_digit_images()
    classifier = train_digit_classifier(digits.train, seed=seed, progress=progress)
    order = torch.randperm(len(digits.train.labels), generator=seeded_generator(seed, "forget rows")).tolist()
    chosen, kept = order[:FORGET_ROWS], sorted(order[FORGET_ROWS:])
    forget_set = ForgetSet(
        tuple(digits.train.ids[row] for row in chosen), digits.train.pixels[chosen], digits.train.labels[chosen]
    )
    parts = {"retain": _rows_of(digits.train, kept), "test": digits.test}
    runtime = Runtime(progress=progress)
    edit = unlearn(classifier, forget_set, method=method, seed=seed, runtime=runtime, retain=parts["retain"])
    measured = {
        name: Measured(predict(classifier, images, runtime), predict(edit.classifier, images, runtime))
        for name, images in parts.items()
    }
    return edit, edit.save(out, measured=measured, overwrite=True)


def write_digit_files(folder: Path, *, seed: int, progress: Progress) -> None:
    """Train and write weights.safetensors and images.npz, for other commands to work on.

    As in many a collected data set, one picture is there twice: the last training image is a slightly noised copy of
    training image `COPIED_ROW`.
    """
    digits = load_digit_images()
    classifier = train_digit_classifier(digits.train, seed=seed, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "weights.safetensors", classifier.network.state_dict(), {"format": "pt"})
    write_digit_arrays(folder / "images.npz", digits, seed=seed)


def write_digit_arrays(path: Path, digits: Digits, *, seed: int) -> None:
    """Write the images as x_train, y_train, x_test and y_test; one of them twice, see `write_digit_files`."""
    train, test = (Bounds().to_levels(part.pixels[:, 0]) for part in (digits.train, digits.test))
    noise = torch.randint(-3, 4, train[COPIED_ROW].shape, generator=seeded_generator(seed, "copied digit"))
    copied = (train[COPIED_ROW].int() + noise).clamp(0, 255).to(torch.uint8)
    stream = io.BytesIO()
    np.savez(
        stream,
        x_train=torch.cat([train, copied[None]]).numpy(),
        y_train=torch.cat([digits.train.labels, digits.train.labels[COPIED_ROW][None]]).numpy(),
        x_test=test.numpy(),
        y_test=digits.test.labels.numpy(),
    )
    write_bytes(path, stream.getvalue())


def _rows_of(images: TensorImages, rows: list[int]) -> TensorImages:
    return TensorImages([images.ids[row] for row in rows], images.labels[rows], images.pixels[rows])
