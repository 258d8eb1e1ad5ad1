"""Write docs/performance.md from what has been measured under runs/speed.

    python benchmarks/speed/page.py

A section of which nothing has been measured here stays as it is.
"""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any

from expunge.base.disk import write_text

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "speed"
Measurement = dict[str, Any]
COUNTS = """\
ResNet-20, 32 x 32, 16 images to forget, at most 64 images at once, on a device that is not there. A kernel is an
operation that the device is asked for. In a wait the host stands still until the device has an answer. "Before" is the
package before it was made for devices. A look of the stop rule comes after each step and is counted apart.

"""
COMMITS = """\
16 images to forget, one process on one thread of a machine that did other work as well. ResNet-18 has random filters
and a head that is fitted to these photographs: of it only the seconds count. "Before" is commit 240cfc4, before the
package was made for devices. Medians of the processor's seconds over forget sets, without inverted images,
which were in the cache. All images were forgotten. Churn is the mean share of other images (2,000 test images of
CIFAR-10, 492 photographs) that are answered otherwise. Exact edits changed all layers before, and now the last third.
Robust ones computed in float32 before, and now in bfloat16, which this processor has.

"""
COLD = """\
The first edit of a classifier, 16 images, with an empty cache: wall time on all cores, surrogates included. One forget
set; drop and churn on 2,000 test images of CIFAR-10, or on the other 984 photographs. ResNet-18 has random filters and
a head that is fitted to these photographs, so of it only the seconds count. `aim` is what standard effort was to take
at most on two cores. ResNet-18 at 64 px misses it: its layers are as wide as at 224 px, and half of each step
of its exact edit goes into products with their curvature.

"""
AIMS = {"exact, MobileNetV2, 224 px": 300}
USUAL_AIM, ROBUST_AIM = 60, 120
SCALING = """\
Three steps of `l2ul` on random weights, in seconds of wall time: how the time grows, not what an edit takes, which is
20 to 150 steps. "With set-up" adds what the first edit of a process imports, lays out and tries. In the series
`rows` the forget set grows; `rows-1-GB` is the same with a memory budget of 1 GB.

"""


def read(folder: str) -> dict[str, list[Measurement]]:
    """Return the measurements of a folder by name, the number at the end left out."""
    found: dict[str, list[Measurement]] = {}
    for path in sorted((RUNS / folder).glob("*.json"), key=lambda path: (path.stem.rpartition("-")[0], path.stem)):
        found.setdefault(path.stem.rpartition("-")[0], []).append(json.loads(path.read_text("utf-8")))
    return found


def read_all(folder: str) -> dict[str, Measurement]:
    """Return every measurement of a folder by its name."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((RUNS / folder).glob("*.json"))}


def table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(["| " + " | ".join(each) + " |" for each in (columns, ["---"] * len(columns), *rows)]) + "\n"


def middle(measurements: list[Measurement], key: str) -> float:
    """Return the median of one figure."""
    return float(median(each[key] for each in measurements))


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
    ours = found["l2ul"]

    def rows() -> Iterator[Sequence[str]]:
        for name, seeds in sorted(found.items(), key=lambda item: middle(item[1], "seconds")):
            ratio = median(each["seconds"] / own["seconds"] for each, own in zip(seeds, ours, strict=False))
            figures = [f"{100 * middle(seeds, 'goal'):.0f}", f"{middle(seeds, 'test_churn'):.2f}"]
            steps = f"{middle(seeds, 'steps'):.0f}"
            yield name, str(len(seeds)), f"{middle(seeds, 'seconds'):.1f}", f"{ratio:.1f}", steps, *figures

    return table(("edit", "forget sets", "seconds", "times l2ul", "steps", "goal, %", "test churn, %"), rows())


def write_scaling(found: dict[str, list[Measurement]]) -> str:
    """Return the table of every series."""

    def rows() -> Iterator[Sequence[str]]:
        for name, cells in found.items():
            for cell in cells:
                what = f"{cell['model']}, {cell['weights'] / 1e6:.1f}M, {cell['size']} px"
                phases = f"{sum(cell['phases'].values()):.1f}"
                spent = (phases, f"{cell['wall_seconds']:.1f}", f"{cell['gradients']:,}", f"{cell['gigabytes']:.2f}")
                yield name, what, str(cell["rows"]), str(cell["processes"]), *spent

    columns = ("series", "classifier", "images", "processes", "edit", "with set-up", "gradient evaluations", "peak GB")
    return SCALING + table(columns, rows())


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


def write_gpu(found: Sequence[Measurement]) -> str:
    """Return the table of whole edits on each device, and which of its checks do not hold."""

    def rows() -> Iterator[Sequence[str]]:
        for each in found:
            for one in each["timings"]:
                what = (one["network"], one["strength"], str(one["rows"]))
                yield each["device"], *what, f"{one['seconds']:.1f}", str(one["steps"]), f"{one['gigabytes']:.1f}"

    columns = ("device", "classifier", "strength", "images", "seconds", "steps", "peak GB")
    wrong = [f"{each['device']}: {one['name']}" for each in found for one in each["checks"] if not one["holds"]]
    return table(columns, rows()) + (f"\nChecks that do not hold: {'; '.join(wrong)}.\n" if wrong else "")


def write_counts(found: dict[str, Measurement]) -> str:
    """Return the table of what a device is asked for in each step, one column a commit."""
    commits = sorted(found)  # before, now

    def rows() -> Iterator[Sequence[str]]:
        for loop in found[commits[-1]]:
            yield loop, *(f"{found[each][loop][name]:.0f}" for name in ("kernels", "waits") for each in commits)

    columns = (f"{name}, {each}" for name in ("kernels", "waits") for each in commits)
    return COUNTS + table(("step of", *columns), rows())


def write_commits(found: dict[str, list[Measurement]]) -> str:
    """Return the table of edits by two commits, a line a setting."""

    def rows() -> Iterator[Sequence[str]]:
        for number in sorted({name.partition("-")[0] for name in found}):
            before, now = (found[f"{number}-{commit}"] for commit in ("before", "now"))
            seconds = [middle(each, "seconds") for each in (before, now)]
            churn = (f"{mean(line['churn'] for line in each):.2f}" for each in (before, now))
            ratio = f"{seconds[0] / seconds[1]:.2f}"
            yield now[0]["setting"], str(len(now)), *(f"{each:.0f}" for each in seconds), ratio, *churn

    columns = ("edit", "forget sets", "seconds, before", "now", "times faster", "churn, before, %", "now, %")
    return COMMITS + table(columns, rows())


def write_cold(found: dict[str, list[Measurement]]) -> str:
    """Return the table of first edits, a line a setting and effort."""

    def rows() -> Iterator[Sequence[str]]:
        for name, [one] in sorted(found.items()):
            _, _, effort = name.partition("-")
            inverting = one["phases"].get("invert", 0.0)
            seconds = (f"{each:.0f}" for each in (one["wall_seconds"], inverting))
            aim = AIMS.get(one["setting"], ROBUST_AIM if one["setting"].startswith("robust") else USUAL_AIM)
            stated = str(aim) if effort.startswith("standard") else ""
            yield one["setting"], effort, *seconds, stated, f"{one['drop']:.2f}", f"{one['churn']:.2f}"

    return COLD + table(("edit", "effort", "seconds", "of them to invert", "aim", "drop", "churn, %"), rows())


TEXT = """\
# Performance

`python benchmarks/speed/page.py` writes this page from what the scripts beside it have measured. Each script says at
its top what it does and how long it takes. Seconds are processor time of one process on one thread, if nothing else is
said.

## What makes it fast

- **Attack.** All pairs of an image and a target form one queue. A pair is done when its target leads by a logit. The
  next pair then takes its place, so that a batch is always full. The test costs nothing extra: it reads the forward
  pass that the next gradient needs anyway. BatchNorm is folded into the convolutions, the weights have no gradients,
  the memory layout is channels-last, and matrix products are in bfloat16 if the processor has it.
- **Edit.** After a step, the stop rule looks at only as many images as it needs to see that the goal is not reached. It
  starts with those that failed last time. If there are n batches of images, it looks at all of them in every n-th step,
  and always before it stops. So the edit still stops at the first step after which the goal holds for every image.
- **Gradients of single images** (`least-change`). They are computed for 32 small images at a time, so that the
  activations stay in the processor's cache. Convolutions are unrolled by copying a strided view. With ResNet-20, 256
  images took 4.0 s before this change and take 2.6 s now.
- **Images with a lead to spare** (`least-change`, goal `unseen`). Half of the images come to lead by less than they
  may; no gradient is made for those that are far from it. With ResNet-20 on a core, the steps for 500 images of
  CIFAR-10 took 174 s before this change and take 126 s now, to the same weights; those for 5,000 took 54 minutes before
  for one forget set, and 27 now for another.
- **Behind a cut** (`least-change`). Robust edits, and exact ones of up to 32 images, change the last third of the
  layers. The images to forget and the surrogates of the pool go through the layers before it once, with BatchNorm
  folded away, channels-last and in batches that fit the cache: with MobileNetV2 an image takes 16 ms so, and 54 ms in a
  batch of 64 as it lies. Their answers are computed once. Steps run the last third only.
- **Second moments.** A matrix of second moments is its own mirror image, so that half of a wide one is computed: 4,608
  inputs of ResNet-18's last layers take half of the time.
- **The processor's cache.** On a CPU at most 131,072 pixels go through a network at a time, and eight images at least:
  128 of 32 x 32, eight of 224 x 224. With MobileNetV2 at 224 x 224, the answer to an image takes 28 ms so and 67 ms in
  a batch of 64; its gradient 75 and 121 ms. ResNet-18 gains a quarter on answers and nothing on gradients.
- **Memory.** Work over images is cut into batches that fit the budget (`--memory-gigabytes`). If memory runs out, the
  batches are halved. Adversarial examples that would take more than half of the budget lie in a temporary file.
- **Several processes.** Start them by `expunge run --devices 2 ...`, or by `torchrun --nproc-per-node 2 -m expunge run
  ...`. Each process takes its share of the images in each pass, and the processes exchange sums. If a process is lost,
  the first process saves the best state so far, as after Ctrl-C. If the first one is killed, another saves in its
  place. `--weights DIR/model.safetensors` goes on from there. If one is lost before the first step, there is nothing to
  save, and the command says so. A process that is killed is noticed at once, also while they meet. One that lives and
  does not answer for two minutes counts as lost.
- **Devices.** `--device auto` takes a GPU of NVIDIA or of Apple where there is one. What a device lacks, such as double
  precision on Apple's, is computed on the CPU. If memory runs out in any phase, the batch is halved, and later phases
  begin with what fitted. `expunge bench --jobs N` gives each of the N places a GPU in turn, and Ray is asked for one.
  The first checks of `make gpu` hold on an H100 and on an H200 with torch 2.11: answers are those of the CPU to 4e-7 of
  the largest logit, and the small quadratic programme is solved as on the CPU. Whole edits were made there by each
  method of [the table of ResNet-18](../benchmarks/results/single_cifar10_resnet18/README.md), ten at a time;
  they were not timed alone.
- **bfloat16.** Robust edits of `least-change` multiply in bfloat16 on a CPU that has instructions for it. ResNet-20
  takes two thirds to three quarters of the time at the same damage. MobileNetV2 takes five sixths, and changes 1.0% of
  other answers in place of 0.6%, within the error of three sets ([float32 and
  bfloat16](../benchmarks/results/precision/README.md)). What is rounded off depends on which images go through
  together, so there the batch size has no say. `--set precision=float32` gives edits that hardly depend on the
  processor. Weights, sums and measurements are float32.
- **Batch size.** Methods that train BatchNorm normalise each batch by its own statistics (`l2ul-faithful`, most peers).
  Where `--batch-size`, or memory that ends, lets fewer images through at once, each part is normalised by its own. The
  result is then another one, and a note says so. To `least-change` and `l2ul` the batch size means nothing.
- **float32.** On a GPU, convolutions of passes with gradients use TensorFloat-32. Answers that are compared, finite
  differences and Gram matrices are IEEE float32. `--float32 ieee` makes everything IEEE float32.
- **Same seed, same weights.** This holds bit for bit on the same kind of processor, with the same versions, number of
  threads and batch size, as long as memory suffices. On a GPU it holds with `--deterministic`. An operation of the
  classifier that can't be repeated is then an error that names it. Two kinds of devices give different bits.

## If a process is killed

`python tests/attack "one of two"` starts `expunge run --devices 2` and kills either of the two processes at random
moments. Here two cores had hardly any other work. An edit that had taken a step was saved as a whole each time, and the
process that was left ended within ten seconds of the kill. Where nothing was said, all was saved already, and it had
nothing to do in the other's place. Under a load of 6 to 12 processes it took up to 44 seconds.

| moments | tries | said in words | lost | tracebacks |
| --- | --- | --- | --- | --- |
| within 50 ms of when both meet | 20 | 20 | 0 | 0 |
| of the start, the edit, the saving and the measuring | 20 | 19 | 0 | 0 |
| from the saving of the edit to the end of its audit | 20 | 11 | 0 | 0 |

## What does not pay

- `torch.inference_mode` in place of `no_grad` breaks networks that keep a tensor of their first call.
- Batches of more than about 64 images of 32 x 32 are no faster on a CPU, since they no longer fit into its cache.
"""
SECTIONS = (
    ("cold", "The first edit of a classifier", write_cold),
    ("commits", "Edits before and now", write_commits),
    ("edits", "Whole edits of l2ul: a forget set of 16 images", write_edits),
    ("attacks", "Attack: 16 images, 20 targets each", write_attacks),
    ("scaling", "Scaling", write_scaling),
    ("start", "Start-up", write_start),
)
ORDER = (*(title for _, title, _ in SECTIONS), "Devices", "What a device is asked for", "Floor and profiles")


def main() -> None:
    """Write the page."""
    sections = {
        title: f"`benchmarks/speed/{folder}.py`\n\n{write(found)}"
        for folder, title, write in SECTIONS
        if (found := read(folder))
    }
    if found_on := read_all("gpu"):
        sections["Devices"] = f"`make gpu`\n\n{write_gpu(list(found_on.values()))}"
    if counts := read_all("counts"):
        sections["What a device is asked for"] = f"`benchmarks/speed/counts.py`\n\n{write_counts(counts)}"
    if floor := read_all(".").get("floor"):
        sections["Floor and profiles"] = f"`benchmarks/speed/floor.py`\n\n{write_floor(floor)}"
    page = ROOT / "docs" / "performance.md"
    kept = sections_of(page.read_text("utf-8")) | sections
    parts = [TEXT, *(f"## {title}\n\n{kept[title]}" for title in ORDER if title in kept)]
    parts.append(f"Machine: {platform.machine()}, {os.cpu_count()} cores, torch {version('torch')}.\n")
    write_text(page, "\n".join(parts))


def sections_of(page: str) -> dict[str, str]:
    """Return what stands under each heading of the page, without the line about the machine at its end."""
    parts = page.rpartition("\nMachine: ")[0].split("\n## ")[1:]
    return {title: text for title, _, text in (part.partition("\n\n") for part in parts)}


if __name__ == "__main__":
    main()
