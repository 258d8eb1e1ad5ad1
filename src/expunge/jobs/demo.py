"""The whole job on data that comes with the package: scikit-learn's handwritten digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expunge.audit.record import Level
from expunge.base.arrays import arrays_to_bytes
from expunge.base.disk import write_bytes
from expunge.base.folders import locked_folder
from expunge.base.tensors import write_tensors
from expunge.compute.devices import seeded
from expunge.compute.runtime import SILENT, Progress
from expunge.compute.seeds import seeded_generator
from expunge.data.images import TensorImages
from expunge.jobs.job import DEMO_NETWORK, AuditPart, DataPart, ForgetPart, Job, ModelPart
from expunge.jobs.run import JobResult, run_job
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode, editing
from expunge.models.pixels import Bounds
from expunge.report import write_comparison
from expunge.task.task import Strength

FORGET_ROWS = 16
EPOCHS = 40
BATCH = 64
BRIGHTEST = 16.0
COPIED_ROW = 12
WEIGHTS, IMAGES, COMPARISON = "weights.safetensors", "images.npz", "compare.html"
WHY_HARD = (
    "Digits are hard to forget: each of the 16 lies among a hundred others of its kind that look nearly the same, so "
    "that whatever pushes it to another answer pushes its neighbours, too."
)


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 images of 8x8 pixels, a quarter of them for testing."""

    train: TensorImages
    test: TensorImages


def load_digit_images() -> Digits:
    """Return scikit-learn's digits, split by class with a fixed seed; pixels within 0..1, shape (n, 1, 8, 8)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - the network needs none, and it takes seconds
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

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


def train_digit_classifier(images: TensorImages, *, seed: int = 0, progress: Progress = SILENT) -> Classifier:
    """Return a classifier trained on `images` by Adam with a one-cycle rate; over 97% right on unseen digits."""
    generator = seeded_generator(seed, "digits")
    with seeded(seed):
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
    return Classifier.wrap(network.eval(), num_classes=10, mean=(0.0,), std=(1.0,))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to forget the digits: its name, which is also its folder's, the method, and how much is to hold."""

    name: str
    method: str
    strength: Strength | None = None


WAYS = (
    Way("exact", "least-change", Strength.EXACT),
    Way("robust", "least-change", Strength.ROBUST),
    Way("l2ul", "l2ul"),
)


def run_demo(out: Path, *, ways: Sequence[Way] = WAYS, seed: int, progress: Progress) -> tuple[JobResult, ...]:
    """Train, forget the same 16 training images in each way, audit, and return what came of each, in their order.

    Classifier and images are in `out`/inputs, the edits in folders named after the ways; several of them are set side
    by side in `out`/compare.html. Each is what `expunge run` with that folder's job.toml does.
    """
    inputs = out / "inputs"
    write_digit_files(inputs, seed=seed, progress=progress, twice=False)
    outcomes = [
        run_job(_demo_job(inputs, way, seed), out / way.name, progress=progress, overwrite=True) for way in ways
    ]
    if len(ways) > 1:
        write_comparison([out / way.name for way in ways], out / COMPARISON, [way.name for way in ways])
    return tuple(outcomes)


def _demo_job(inputs: Path, way: Way, seed: int) -> Job:
    count = len(load_digit_images().train.labels)
    chosen = torch.randperm(count, generator=seeded_generator(seed, "forget rows"))[:FORGET_ROWS]
    return Job(
        model=ModelPart(architecture=DEMO_NETWORK, weights=str(inputs / WEIGHTS), mean=(0.0,), std=(1.0,)),
        data=DataPart(source=f"npz:{inputs / IMAGES}"),
        forget=ForgetPart(indices=",".join(map(str, chosen.tolist()))),
        audit=AuditPart(level=Level.QUICK),
        method=way.method,
        strength=way.strength,
        seed=seed,
        device="cpu",
    )


def write_digit_files(folder: Path, *, seed: int, progress: Progress, twice: bool = True) -> None:
    """Train and write weights.safetensors and images.npz, for other commands to work on.

    With `twice`, one picture is there twice, as in many a collected data set: the last training image is a slightly
    noised copy of training image `COPIED_ROW`.
    """
    digits = load_digit_images()
    classifier = train_digit_classifier(digits.train, seed=seed, progress=progress)
    with locked_folder(folder):
        write_tensors(folder / WEIGHTS, classifier.network.state_dict(), {"format": "pt"})
        write_digit_arrays(folder / IMAGES, digits, seed=seed, twice=twice)


def write_digit_arrays(path: Path, digits: Digits, *, seed: int, twice: bool = True) -> None:
    """Write the images as x_train, y_train, x_test and y_test; for `twice` see `write_digit_files`."""
    train, test = (Bounds().to_levels(part.pixels[:, 0]) for part in (digits.train, digits.test))
    noise = torch.randint(-3, 4, train[COPIED_ROW].shape, generator=seeded_generator(seed, "copied digit"))
    copied = (train[COPIED_ROW].int() + noise).clamp(0, 255).to(torch.uint8)
    labels = digits.train.labels
    arrays = {
        "x_train": (torch.cat([train, copied[None]]) if twice else train).numpy(),
        "y_train": (torch.cat([labels, labels[COPIED_ROW][None]]) if twice else labels).numpy(),
        "x_test": test.numpy(),
        "y_test": digits.test.labels.numpy(),
    }
    write_bytes(path, arrays_to_bytes(arrays))
