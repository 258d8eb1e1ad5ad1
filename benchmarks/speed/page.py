"""Write docs/performance.md from what has been measured under runs/speed.

python benchmarks/speed/page.py
"""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from expunge.base.disk import write_text

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "speed"
Measurement = dict[str, Any]


def read(folder: str) -> dict[str, list[Measurement]]:
    """Return the measurements of a folder by name, the number at the end left out."""
    found: dict[str, list[Measurement]] = {}
    for path in sorted((RUNS / folder).glob("*.json"), key=lambda path: (path.stem.rpartition("-")[0], path.stem)):
        found.setdefault(path.stem.rpartition("-")[0], []).append(json.loads(path.read_text("utf-8")))
    return found


def table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(["| " + " | ".join(each) + " |" for each in (columns, ["---"] * len(columns), *rows)]) + "\n"


def middle(measurements: list[Measurement], key: str) -> float:
    """Return the median of one figure."""
    return median(each[key] for each in measurements)


def write_attacks(found: dict[str, list[Measurement]]) -> str:
    """Return the table of attacks; the ratio is the median of those of single rounds, in which all took turns."""
    ours = found["expunge"]

    def rows() -> Iterator[Sequence[str]]:
        for name, rounds in sorted(found.items(), key=lambda item: middle(item[1], "seconds")):
            pairs = zip(rounds, ours, strict=False)
            ratio = median(each["seconds"] / own["seconds"] for each, own in pairs)
            reached = f"{100 * middle(rounds, 'reached'):.1f}"
            yield name, str(len(rounds)), f"{middle(rounds, 'seconds'):.2f}", f"{ratio:.1f}", reached

    return table(("attack", "rounds", "seconds", "times ours", "reached, %"), rows())


def write_edits(found: dict[str, list[Measurement]]) -> str:
    """Return the table of whole edits."""
    ours = found["ours"]

    def rows() -> Iterator[Sequence[str]]:
        for name, seeds in sorted(found.items(), key=lambda item: middle(item[1], "seconds")):
            ratio = median(each["seconds"] / own["seconds"] for each, own in zip(seeds, ours, strict=False))
            figures = [f"{100 * middle(seeds, 'goal'):.0f}", f"{middle(seeds, 'test_churn'):.2f}"]
            steps = f"{middle(seeds, 'steps'):.0f}"
            yield name, str(len(seeds)), f"{middle(seeds, 'seconds'):.1f}", f"{ratio:.1f}", steps, *figures

    return table(("edit", "forget sets", "seconds", "times ours", "steps", "goal, %", "test churn, %"), rows())


def write_scaling(found: dict[str, list[Measurement]]) -> str:
    """Return the table of every series."""

    def rows() -> Iterator[Sequence[str]]:
        for name, cells in found.items():
            for cell in cells:
                what = f"{cell['model']}, {cell['weights'] / 1e6:.1f}M, {cell['size']} px"
                phases = f"{sum(cell['phases'].values()):.1f}"
                spent = (phases, f"{cell['wall_seconds']:.1f}", f"{cell['gradients']:,}", f"{cell['gigabytes']:.2f}")
                yield name, what, str(cell["rows"]), str(cell["processes"]), *spent

    columns = ("series", "classifier", "rows", "processes", "edit", "with set-up", "gradient evaluations", "peak GB")
    note = "Seconds of wall time; set-up is what the first edit of a process imports, lays out and tries.\n\n"
    return note + table(columns, rows())


def write_start(found: dict[str, list[Measurement]]) -> str:
    """Return the table of start-up times; the least of all rounds is what no other work disturbed."""

    def rows() -> Iterator[Sequence[str]]:
        for name, each in found.items():
            yield name, str(len(each)), f"{min(one['seconds'] for one in each):.2f}"

    return table(("command", "rounds", "seconds, the least"), rows())


def write_floor(found: Measurement) -> str:
    """Return peaks, distances to them, and profiles."""
    peaks = ", ".join(f"{rate / 1e9:.0f} billion a second in {numbers}" for numbers, rate in found["peaks"].items())

    def rows() -> Iterator[Sequence[str]]:
        for name, path in found["paths"].items():
            operations, seconds = path["operations_an_image"], path["seconds_an_image"]
            floor = 1e3 * operations / found["peaks"][path["numbers"]]
            costliest = ", ".join(
                f"`{key.removeprefix('aten::')}` {100 * s:.0f}%" for key, s in path["costliest"].items()
            )
            share = f"{100 * path['share_of_peak']:.0f}"
            yield (
                name,
                path["numbers"],
                f"{operations / 1e6:.0f}",
                f"{floor:.2f}",
                f"{1e3 * seconds:.2f}",
                share,
                costliest,
            )

    columns = (
        "path",
        "numbers",
        "operations an image, millions",
        "floor, ms",
        "measured, ms",
        "% of peak",
        "costliest",
    )
    return f"Peaks measured: {peaks} (the best of matrix products and 3x3 convolutions).\n\n" + table(columns, rows())


TEXT = """\
# Performance

Written by `python benchmarks/speed/page.py` from what the scripts beside it have measured, each of which says at its
top what it does and how long it takes. Seconds are those of one process on one thread, by the processor's clock.

## What makes it fast

- **Attack**: all pairs of row and target form one queue. A batch is always full, since the next pair takes the place of
  one that is done; a pair is done when its target leads by a logit, as told by the forward pass that its next gradient
  needs anyway. BatchNorm is folded into the convolutions, weights have no gradients, images lie channels-last, and
  matrix products are in bfloat16 where the processor has it.
- **Edit**: a step looks at as few rows as show that the goal is not reached, those first that failed last time; at all
  rows every so many steps as there are batches of them, and before it stops. The edit stops at the first step after
  which the goal holds for every row, as before.
- **Row gradients** (`least-change`): 32 small images at a time, so that what flows through the network stays in the
  cache; convolutions are unrolled by copying a strided view. 256 rows of ResNet-20 took 4.0 s before and 2.6 s since.
- **Robust forgetting** (`least-change`): the last third of the layers is edited; nothing is kept for those before it,
  and their BatchNorm is folded away. What the classifier answered before the edit is computed once for each surrogate
  of the pool. Together a tenth less time on ResNet-20 and a fifth less on MobileNetV2.
- **Memory**: work over images goes in batches that fit the budget (`--memory-gigabytes`), halved when memory runs out.
  Adversarial examples that take more than half of it lie in a file that has no name.
- **Processes**: `expunge run --devices 2 ...` or `torchrun --nproc-per-node 2 -m expunge run ...`. Each takes its share
  of the images of each pass; sums are exchanged. When a process is lost, the first one saves the best state so far and
  ends like Ctrl-C; go on from it with `--weights DIR/model.safetensors`.

What does not pay: `torch.inference_mode` in place of `no_grad` breaks networks that keep a tensor of their first call.
Batches beyond about 64 images of 32 x 32 are no faster on a CPU, since they leave its cache.
"""
SECTIONS = (
    ("attacks", "Attack: 16 rows, 20 targets each", write_attacks),
    ("edits", "Whole edits: 16 rows", write_edits),
    ("scaling", "Scaling", write_scaling),
    ("start", "Start-up", write_start),
)


def main() -> None:
    """Write the page."""
    parts = [TEXT]
    for folder, title, write in SECTIONS:
        if found := read(folder):
            parts.append(f"## {title}\n\n`benchmarks/speed/{folder}.py`\n\n{write(found)}")
    if (RUNS / "floor.json").exists():
        floor = json.loads((RUNS / "floor.json").read_text("utf-8"))
        parts.append(f"## Floor and profiles\n\n`benchmarks/speed/floor.py`\n\n{write_floor(floor)}")
    parts.append(f"Machine: {platform.machine()}, {os.cpu_count()} cores, torch {version('torch')}.\n")
    write_text(ROOT / "docs" / "performance.md", "\n".join(parts))


if __name__ == "__main__":
    main()
