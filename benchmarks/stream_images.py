"""How many photographs a second are loaded, and predicted, one batch at a time and with threads one batch ahead.

Command: python benchmarks/stream_images.py [IMAGES]
Needs:   EXPUNGE_DATA (default ../shared/data)
Prints the medians of five turns each, taken in turn, and their ratio. It says how busy the machine is, too.
"""

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from expunge.data import DataRequest, load_data
from expunge.data.images import Images, Subset, batches
from expunge.models.sources import ModelSource, load_classifier
from expunge.task.evaluation import compute_logits

BATCH, TURNS = 32, 5


def one_by_one(images: Images) -> Iterator[Tensor]:
    """Yield the batches as they would be loaded without threads."""
    for start in range(0, len(images.labels), BATCH):
        yield images.load(range(start, min(start + BATCH, len(images.labels))))


def ahead(images: Images) -> Iterator[Tensor]:
    """Yield the batches as `predict` gets them."""
    for x, _ in batches(images, BATCH):
        yield x


def measure(work: Callable[[Iterator[Tensor]], None], images: Images) -> tuple[float, float]:
    """Return images a second without and with threads."""
    seconds: dict[Callable[[Images], Iterator[Tensor]], list[float]] = {one_by_one: [], ahead: []}
    for _ in range(TURNS):
        for load, taken in seconds.items():
            started = time.perf_counter()
            work(load(images))
            taken.append(time.perf_counter() - started)
    before, after = (len(images.labels) / statistics.median(taken) for taken in seconds.values())
    return before, after


def main(count: int) -> None:
    data = Path(os.environ.get("EXPUNGE_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data"))
    with warnings.catch_warnings(action="ignore"):
        loaded = load_classifier(ModelSource("torchvision:squeezenet1_1"))
    photographs = load_data(f"folder:{data / 'imagenet_samples'}", DataRequest(loaded.preprocessing)).train
    images = Subset(photographs, range(count))

    def load(stream: Iterator[Tensor]) -> None:
        for _ in stream:
            pass

    def predict(stream: Iterator[Tensor]) -> None:
        for x in stream:
            compute_logits(loaded.classifier, x, BATCH)

    print(f"{torch.get_num_threads()} threads, load of the machine {os.getloadavg()[0]:.1f}")
    for name, work in (("load", load), ("predict", predict)):
        before, after = measure(work, images)
        print(f"{name}: {before:.0f} -> {after:.0f} images a second, x {after / before:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
