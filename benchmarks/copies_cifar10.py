"""CIFAR-10: how many copies of training images are found among the nearest five, and how many others are taken for one.

    python benchmarks/copies_cifar10.py

Takes about three core-minutes. Writes README.md and measured.jsonl to benchmarks/results/copies_cifar10. Needs the
classifier and the arrays of CIFAR-10, see benchmarks/README.md.
"""

import io
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from expunge.base.disk import write_text
from expunge.bench.cells import find_data
from expunge.compute.runtime import Runtime
from expunge.data import load_data
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset
from expunge.data.preprocessing import pixels_of
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource
from expunge.requests.copies import ALIKE, ALIKE_FEATURES, WITH_FEATURES, Near, find_near, open_index
from expunge.requests.create import Plan, create_project
from expunge.requests.fingerprints import NEAR
from expunge.requests.recovery import writing
from expunge.requests.weights import load_first

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "copies_cifar10"
AMONG, QUERIES, SIDE = 5_000, 500, 32
COLUMNS = ("copies", "of", "in the nearest five", "nearest", "marked as alike", "others marked per picture")


def shifted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture moved by up to 4 pixels each way, its edge repeated."""
    across, down = 0, 0
    while (across, down) == (0, 0):
        across, down = (int(value) for value in rng.integers(-4, 5, 2))
    wide = np.pad(np.asarray(image), ((4, 4), (4, 4), (0, 0)), mode="edge")
    return Image.fromarray(wide[4 + down : 4 + down + SIDE, 4 + across : 4 + across + SIDE])


def resized(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture at 75-90% of its size on black, or at 110-125%, cropped."""
    size = int(rng.integers(24, 29)) if rng.random() < 0.5 else int(rng.integers(36, 41))
    other = image.resize((size, size), Image.Resampling.BILINEAR)
    edge = (size - SIDE) // 2
    return other.crop((edge, edge, edge + SIDE, edge + SIDE))


def recompressed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture as JPEG of quality 30 to 75."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(rng.integers(30, 76)))
    return Image.open(stream).convert("RGB")


def noised(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with Gaussian noise of standard deviation 4 to 16 of 255."""
    noise = rng.normal(0, rng.uniform(4, 16), (SIDE, SIDE, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).round().astype(np.uint8))


def mirrored(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the mirror image."""
    return ImageOps.mirror(image)


KINDS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    change.__name__: change for change in (shifted, resized, recompressed, noised, mirrored)
}


def main() -> None:
    """Measure everything, and write page and figures."""
    splits = load_data(f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}")
    order = np.random.default_rng(0).permutation(len(splits.train.labels))[:AMONG]
    among, test = Subset(splits.train, order.tolist()), splits.test or splits.train
    with tempfile.TemporaryDirectory() as folder:
        weights = find_data() / "classifiers" / "cifar10_resnet20.safetensors"
        source = ModelSource("cifar:resnet20", weights, 10, Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        create_project(Path(folder) / "project", Plan(model=source, method="l2ul"))
        with writing(Path(folder) / "project") as ledger:
            first, runtime = load_first(ledger).classifier, Runtime.on("cpu")

            def search(images: Images, queries: ForgetSet) -> list[list[Near]]:
                return find_near(open_index(ledger, images, runtime), ledger, queries, first, runtime)

            rows = [measure(kind, search(among, change_all(kind, among))) for kind in KINDS]
            rows.append(measure("no copy at all", search(among, as_rows(test, range(QUERIES)))))
            times = measure_time(lambda: search(splits.train, as_rows(test, range(16))))
    write_page(rows, times)


def change_all(kind: str, images: Images) -> ForgetSet:
    """Return copies of the first pictures; the same whenever it is called."""
    rows = as_rows(images, range(QUERIES))
    changed = [
        KINDS[kind](Image.fromarray(levels), np.random.default_rng(number))
        for number, levels in enumerate((255 * rows.x).round().byte().permute(0, 2, 3, 1).numpy())
    ]
    return ForgetSet(rows.ids, torch.stack([pixels_of(image) for image in changed]), rows.y)


def as_rows(images: Images, numbers: range) -> ForgetSet:
    """Return some images as what is looked for."""
    return ForgetSet(tuple(map(str, numbers)), images.load(numbers), images.labels[list(numbers)])


def measure(kind: str, found: list[list[Near]]) -> dict[str, Any]:
    """Return the figures of one kind; the copy of picture n is row n."""
    count = len(found)
    is_copy = kind in KINDS
    hits = [[is_copy and one.row == number for one in near] for number, near in enumerate(found)]
    alike = [(one.alike, is_copy and one.row == number) for number, near in enumerate(found) for one in near]
    marked = sum(is_alike for is_alike, hit in alike if hit)
    others = sum(is_alike for is_alike, hit in alike if not hit)
    return {
        "copies": kind,
        "of": count,
        "in the nearest five": round(100 * sum(map(any, hits)) / count, 1) if is_copy else None,
        "nearest": round(100 * sum(hit[0] for hit in hits) / count, 1) if is_copy else None,
        "marked as alike": round(100 * marked / count, 1) if is_copy else None,
        "others marked per picture": round(others / count, 3),
    }


def measure_time(search: Callable[[], object]) -> dict[str, float]:
    """Return seconds of a first search, which makes the index, and of a second one."""
    times = {}
    for name in ("first", "second"):
        begun, busy = time.monotonic(), time.process_time()
        search()
        times[name] = round(time.monotonic() - begun, 1)
        times[f"{name}, processor"] = round(time.process_time() - busy, 1)
    return times


def write_page(rows: list[dict[str, Any]], times: dict[str, float]) -> None:
    """Write README.md and measured.jsonl."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in (*rows, {"seconds": times})]
    write_text(RESULTS / "measured.jsonl", "\n".join(lines) + "\n")
    table = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    table += [f"| {' | '.join('' if row[name] is None else str(row[name]) for name in COLUMNS)} |" for row in rows]
    about = (
        f"CIFAR-10: copies of {QUERIES} pictures of each kind are looked for among {AMONG:,} training images, as "
        "`requests add --against` and the desk do. Shares in percent. A picture is marked as alike if at most "
        f"{NEAR} of 128 bits of the perceptual hash differ, if outlines correlate by {ALIKE} or more, or by "
        f"{WITH_FEATURES} where the features of ResNet-20 have a cosine of {ALIKE_FEATURES} or more. In the last line, "
        f"{QUERIES} test images are looked for, which are no copies of training images (some do resemble one)."
    )
    kinds = [
        "",
        "Copies are made so:",
        "",
        *(f"- {name}: {(change.__doc__ or '').removeprefix('Return ')}" for name, change in KINDS.items()),
        "",
    ]
    speed = (
        f"{times['first']:g} seconds ({times['first, processor']:g} of processor time) for 16 pictures among all "
        f"50,000, the index included; {times['second']:g} ({times['second, processor']:g}) once it is there. "
        f"{platform.machine()}, {torch.get_num_threads()} threads, busy with other work."
    )
    text = ["# Copies of training images", "", about, *kinds, *table, "", speed, ""]
    text += [
        "Written by `python benchmarks/copies_cifar10.py`; [measured.jsonl](measured.jsonl) has the same figures.",
        "",
    ]
    write_text(RESULTS / "README.md", "\n".join(text))


if __name__ == "__main__":
    main()
