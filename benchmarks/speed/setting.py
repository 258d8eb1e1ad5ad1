"""What the speed benchmarks share: the classifier and rows, a clock, and where finished measurements are kept.

Times are seconds of this process on one thread, by the processor's clock, so that other work on the machine hardly
counts; wall time is kept beside them. Every measurement is a JSON file under runs/speed, skipped when it is there.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn

from expunge import Classifier, ForgetSet
from expunge.base.disk import write_json
from expunge.bench.cells import find_data
from expunge.compute.runtime import Runtime
from expunge.data import DataRequest, load_data
from expunge.data.preprocessing import Preprocessing
from expunge.jobs.inputs import load_inputs
from expunge.jobs.job import DataPart, ForgetPart, Job, ModelPart

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "speed"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_setting(count: int, seed: int) -> tuple[Classifier, ForgetSet]:
    """Return CIFAR-10's ResNet-20 and `count` random training rows."""
    inputs = load_inputs(_make_job(count, seed), Runtime())
    return inputs.loaded.classifier, inputs.forget_set


def load_test_images(count: int) -> torch.Tensor:
    """Return every so-many-th test image, `count` of them."""
    test = load_inputs(_make_job(1, 0), Runtime()).splits.test
    assert test is not None  # noqa: S101 - the file holds test images
    return test.load(range(0, len(test.labels), len(test.labels) // count))


def _make_job(count: int, seed: int) -> Job:
    weights = find_data() / "classifiers" / "cifar10_resnet20.safetensors"
    return Job(
        model=ModelPart(architecture="cifar:resnet20", weights=str(weights), mean=MEAN, std=STD),
        data=DataPart(source=f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}"),
        forget=ForgetPart(random=count),
        seed=seed,
    )


def save_resnet18(path: Path, size: int) -> None:
    """Write a ResNet-18 with random filters, its BatchNorm and head fitted to photographs, unless it is there.

    Args:
        path: of the weights, for `torchvision:resnet18`.
        size: pixels of a side.
    """
    if path.exists():
        return
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    crop = Preprocessing(resize=size * 8 // 7, crop=(size, size))
    images = load_data(f"folder:{find_data() / 'imagenet_samples'}", DataRequest(preprocessing=crop)).train
    x = images.load(range(len(images.labels)))
    x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    head, network.fc = network.fc, nn.Identity()
    with torch.no_grad():
        for training in (True, False):
            network.train(training)
            features = torch.cat([network(part) for part in x.split(64)]).double()
        weights = _fit(features - features.mean(dim=0), F.one_hot(images.labels, head.out_features).double())
        head.weight.copy_(weights.T)
        head.bias.copy_(-features.mean(dim=0) @ weights)
    network.fc = head
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path)


def _fit(features: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the weights of a ridge regression, times 20, so that classes lead by a few logits."""
    gram = features.T @ features
    ridge = 0.01 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solved: torch.Tensor = torch.linalg.solve(gram + ridge, features.T @ wanted)
    return 20 * solved


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    """Fill what is yielded with the seconds that the block takes."""
    taken: dict[str, float] = {}
    used, started = time.process_time(), time.perf_counter()
    yield taken
    taken["seconds"] = time.process_time() - used
    taken["wall_seconds"] = time.perf_counter() - started


def keep(name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the measurement of that name: the one kept, or a new one, which is kept."""
    path = RUNS / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"measuring {name}", flush=True)
        write_json(path, measure())
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
