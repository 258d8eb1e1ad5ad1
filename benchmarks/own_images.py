"""What do a few hundred unlabelled images of one's own buy, in place of surrogates that are made?

    python benchmarks/own_images.py --k 64
    python benchmarks/own_images.py --k 256
    python benchmarks/own_images.py --table

Each edits a ResNet-20 for CIFAR-10, with 0, 250 and 750 test images as own images (`surrogates.folder`), exactly and
robustly, on up to three forget sets. What the edits lose is measured on 7,500 other test images. Edits that
measured.jsonl has are not made again; the commands can run side by side. README.md and measured.jsonl are in
benchmarks/results/own_images. About two core-hours, most of them for 256 images; needs the classifiers and arrays of
benchmarks/README.md.
"""

import json
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
from filelock import FileLock
from PIL import Image

from expunge import __version__
from expunge.base.disk import write_text
from expunge.bench import make_cells, read_grid
from expunge.bench.records import MeanOverSets
from expunge.compute.bars import Bars
from expunge.compute.runtime import Runtime
from expunge.data.images import Images, Subset
from expunge.jobs.inputs import load_inputs
from expunge.methods.least_change.method import LeastChange
from expunge.methods.unlearn import unlearn
from expunge.surrogates.draw import SurrogateMix
from expunge.task.evaluation import predict_logits
from expunge.task.task import Effort, Strength

ROOT = Path(__file__).resolve().parent.parent
GRID = ROOT / "benchmarks" / "least_change_cifar10.toml"
RESULTS = ROOT / "benchmarks" / "results" / "own_images"
SIZES, COUNTS, SEEDS = (0, 250, 750), (64, 256), (0, 1, 2)
KEPT_APART = 4
"""One test image in so many may be one's own; the others are measured on."""


@click.command()
@click.option("--k", type=click.Choice([str(count) for count in COUNTS]), help="Edit forget sets of this size.")
@click.option("--table", is_flag=True, help="Write the page alone.")
def main(k: str | None, *, table: bool) -> None:
    """Measure what is not measured yet, and write the page."""
    if not table:
        for count in COUNTS if k is None else (int(k),):
            for seed in SEEDS:
                measure(count, seed)
    write_page()


def measure(count: int, seed: int) -> None:
    """Make all edits of one forget set, and add their lines to measured.jsonl."""
    cells = make_cells(read_grid(GRID), name=GRID.stem, runs=ROOT / "runs")
    job = next(cell.job for cell in cells if cell.count == count and cell.seed == seed)
    runtime = Runtime.on("cpu", progress=Bars())
    inputs = load_inputs(job, runtime)
    test = inputs.splits.test or Subset(inputs.splits.train, [])
    numbers = range(len(test.labels))
    mine = Subset(test, [number for number in numbers if number % KEPT_APART == 0])
    others = Subset(test, [number for number in numbers if number % KEPT_APART])
    before = predict_logits(inputs.loaded.classifier, others, runtime)
    for strength in Strength:
        for size in SIZES:
            asked = {"k": count, "seed": seed, "strength": strength.value, "own": size}
            if any(asked.items() <= line.items() for line in read_lines()):
                continue
            with TemporaryDirectory() as folder:
                write_images(mine, size, Path(folder))
                mix = SurrogateMix(folder=folder if size else None)
                method = LeastChange(effort=Effort.THOROUGH, surrogates=mix)
                start = time.process_time()
                edit = unlearn(
                    inputs.loaded.classifier,
                    inputs.forget_set,
                    method=method,
                    strength=strength,
                    runtime=runtime,
                    seed=seed,
                )
            seconds = time.process_time() - start
            after = predict_logits(edit.classifier, others, runtime)
            right = [(logits.argmax(1) == others.labels).float().mean().item() for logits in (before, after)]
            line = {
                **asked,
                "goal": 100 * edit.goal_achieved,
                "copies": 100 * edit.measure_robust_goal().share,
                "lost": 100 * (right[0] - right[1]),
                "churn": 100 * (before.argmax(1) != after.argmax(1)).float().mean().item(),
                "seconds": seconds,
                "forget": inputs.forget_set.sha256(),
                "classifier": inputs.loaded.classifier.sha256(),
                "weights": edit.classifier.sha256(),
            }
            line = {name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()}
            with FileLock(str(ROOT / "runs" / "own_images.lock")):
                write_lines([*read_lines(), line])
            click.echo(json.dumps(line))


def write_images(images: Images, size: int, folder: Path) -> None:
    """Write so many images, evenly out of all, to `folder`."""
    for number in [position * len(images.labels) // size for position in range(size)]:
        levels = (255 * images.load([number])[0]).round().byte().permute(1, 2, 0)
        Image.fromarray(levels.numpy()).save(folder / f"{number}.png")


def read_lines() -> list[dict[str, Any]]:
    """Return what is measured."""
    path = RESULTS / "measured.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def write_lines(lines: list[dict[str, Any]]) -> None:
    """Write what is measured, in the order of the page."""
    lines = sorted(lines, key=lambda line: (line["k"], line["strength"], line["own"], line["seed"]))
    write_text(RESULTS / "measured.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def write_page() -> None:
    """Write README.md from measured.jsonl."""
    found = defaultdict[tuple[int, str, int], list[dict[str, Any]]](list)
    for line in read_lines():
        found[line["k"], line["strength"], line["own"]].append(line)
    rows = []
    for (k, strength, own), lines in found.items():
        means = [MeanOverSets.of([line[name] for line in lines]) for name in ("goal", "copies", "lost", "churn")]
        rows.append((k, strength, own, len(lines), *means))
    text = f"""# What a few hundred images of one's own buy

`python benchmarks/own_images.py` wrote this page, with expunge {__version__} and torch {torch.__version__};
measured.jsonl has each edit, with hashes of images, classifier and edited weights. CIFAR-10, ResNet-20, thorough
effort. Own images are unlabelled test images, given as `surrogates.folder`: half of the surrogates of each step are
drawn from them. What an edit loses is measured on the 7,500 test images that are never among them. Robust edits compute
in bfloat16 where the processor has it, and here it had. Means over the forget sets, ± half a 95% interval
(Student's t).

| k | strength | own images | forget sets | images forgotten, % | copies that hold, % | points lost | churn, % |
|---|---|---|---|---|---|---|---|
{chr(10).join("| " + " | ".join(map(str, row)) + " |" for row in rows)}
"""
    write_text(RESULTS / "README.md", text)


if __name__ == "__main__":
    RESULTS.mkdir(parents=True, exist_ok=True)
    main()
