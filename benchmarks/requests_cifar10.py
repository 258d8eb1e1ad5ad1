"""CIFAR-10, ResNet-20: 16 deletion requests of 16 images, one after another, beside one request of 256.

    python benchmarks/requests_cifar10.py [--seeds 0,1,2] [--only keepers]

Uses the ledger itself, so it can be stopped and started again: requests that were applied are not applied again, and
what was measured is not measured again. Writes README.md, measured.jsonl and accuracy.svg to
benchmarks/results/requests_cifar10, of all that is done so far; the projects are kept under runs/. Needs the classifier
and the arrays of CIFAR-10, see benchmarks/README.md. The figures of a single request of the same 256 images come from
the result lines of benchmarks/least_change_cifar10.toml.

In the arrangements with keepers, edits are given nothing of earlier images but keepers. The images lie in the project
all the same, since they are measured on, and since surrogates are cached only as long as they do. Where EXPUNGE_CACHE
is set, projects begin with the surrogates that are there.
"""

import io
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import torch
from matplotlib import pyplot

from expunge._version import __version__
from expunge.base.disk import write_json, write_text
from expunge.bench.cells import find_data
from expunge.compute.bars import Bars
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data import forget_set, load_data, random_rows
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset
from expunge.methods.continual import holds, join
from expunge.models.classifier import Classifier
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource
from expunge.requests.apply import apply_waiting
from expunge.requests.create import Plan, create_project
from expunge.requests.images import load_rows
from expunge.requests.place import CACHE_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.receive import RequestOptions, receive
from expunge.requests.recovery import writing
from expunge.requests.state import State, Version
from expunge.requests.weights import load_first, rebuild, with_weights
from expunge.surrogates.cache import CACHE_VARIABLE
from expunge.task.evaluation import measure_robust_goal, predict
from expunge.task.goals import Misclassify
from expunge.task.task import Strength

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "requests_cifar10"
RESULTS = ROOT / "benchmarks" / "results" / "requests_cifar10"
EFFORT = {"effort": "thorough"}
AT_ONCE = ROOT / "benchmarks" / "results" / "least_change_cifar10" / "results.jsonl"
REQUESTS, ROWS, COPIES = 16, 16, 8
MEASURED = (1, 2, 4, 8, 12, 16)
"""After which requests all test images are looked at."""
KEPT = date(2999, 12, 31)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the requests are applied."""

    strength: Strength
    keepers: bool


ARRANGEMENTS = {
    "exact, images kept": Arrangement(Strength.EXACT, keepers=False),
    "exact, keepers": Arrangement(Strength.EXACT, keepers=True),
    "robust, images kept": Arrangement(Strength.ROBUST, keepers=False),
    "robust, keepers": Arrangement(Strength.ROBUST, keepers=True),
}
Line = dict[str, Any]


@click.command()
@click.option("--seeds", default="0,1,2", show_default=True, help="Of the images to forget.")
@click.option("--only", default="", help="Arrangements whose names hold this.")
def main(seeds: str, only: str) -> None:
    """Apply what is missing, measure it, write page, figures and plot."""
    data = load_data(f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}")
    assert data.test is not None  # noqa: S101
    for seed in map(int, seeds.split(",")):
        for name in (name for name in ARRANGEMENTS if only in name):
            folder = RUNS / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            apply_all(folder, data.train, draw_parts(data.train, seed), ARRANGEMENTS[name])
            measure_all(folder, name, seed, data.test)
            write_results(read_lines())


def draw_parts(train: Images, seed: int) -> list[list[int]]:
    """Return the rows of each request: those of a single request of 256 with this seed, in random order."""
    drawn = torch.tensor(random_rows(train, REQUESTS * ROWS, seed=seed))
    rows = drawn[torch.randperm(len(drawn), generator=torch.Generator().manual_seed(seed))].tolist()
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]


def apply_all(folder: Path, train: Images, parts: list[list[int]], how: Arrangement) -> None:
    """Make one request of each part that the project has not applied yet, and apply it, one after another."""
    shared = os.environ.get(CACHE_VARIABLE)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        weights = find_data() / "classifiers" / "cifar10_resnet20.safetensors"
        source = ModelSource("cifar:resnet20", weights, 10, Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        create_project(folder, Plan(model=source, settings=EFFORT, strength=how.strength, keepers=how.keepers))
    if shared is not None and not (folder / CACHE_FOLDER).exists():
        shutil.copytree(shared, folder / CACHE_FOLDER)
    for number, rows in enumerate(parts):
        with writing(folder) as ledger:
            if len(ledger.state.requests) <= number:
                options = RequestOptions(reference=f"request {number + 1}", keep_until=KEPT, minimum_right=0.0)
                receive(ledger, forget_set(train, rows), options)
            if ledger.state.in_state(State.VALIDATED, State.APPLIED):
                latest, start = len(ledger.state.requests), time.process_time()
                print(f"{folder.name}: request {latest} of {len(parts)}", file=sys.stderr)
                report = apply_waiting(ledger, Runtime(progress=Bars()))
                seconds = round(time.process_time() - start, 1)
                write_json(folder.parent / f"{folder.name}-{latest}-seconds.json", {"processor": seconds})
                for name, reason in report.failed.items():
                    print(f"{name}: {reason}", file=sys.stderr)


def measure_all(folder: Path, name: str, seed: int, test: Images) -> None:
    """Write what each version comes to, beside the project, unless it is there."""
    ledger = Ledger.open(folder)
    first, asked = load_first(ledger).classifier, list[ForgetSet]()
    for version in ledger.state.lineage():
        asked += [load_rows(ledger, ledger.state.requests[each]) for each in version.requests]
        path = folder.parent / f"{folder.name}-{version.number}-measured.json"
        if not path.exists():
            edited = with_weights(first, rebuild(ledger, version.number))
            line = {"arrangement": name, "seed": seed, "request": version.number}
            write_json(path, {**line, **measure(first, edited, asked), **costs(folder, version)})
        if version.number in MEASURED and "test" not in json.loads(path.read_text("utf-8")):
            edited = with_weights(first, rebuild(ledger, version.number))
            write_json(path, {**json.loads(path.read_text("utf-8")), **compare(first, edited, test)})


def measure(first: Classifier, edited: Classifier, asked: list[ForgetSet]) -> Line:
    """Return how many rows so far hold, and on which share of fresh copies."""
    rows = join(asked, first)
    held = torch.cat([holds(edited, each) for each in asked])
    generator = seeded_generator(0, "fresh copies")
    robust = measure_robust_goal(edited, rows.x, rows.y, Misclassify(), generator=generator, copies=COPIES)
    return {"forgotten": int(held.sum()), "of": len(held), "copies": round(100 * robust.share, 2)}


def costs(folder: Path, version: Version) -> Line:
    """Return steps, rounds and time of a version."""
    path = folder.parent / f"{folder.name}-{version.number}-seconds.json"
    seconds = json.loads(path.read_text("utf-8"))["processor"] if path.exists() else None
    figures = version.figures
    return {
        "steps": figures["steps"],
        "repaired": len(figures["repaired"]),
        "seconds": figures["seconds"],
        "processor": seconds,
    }


def compare(first: Classifier, edited: Classifier, test: Images) -> Line:
    """Return accuracy and churn in percent on all test images."""
    every, runtime = Subset(test, range(len(test.labels))), Runtime(progress=Bars())
    path = RUNS / "first.pt"
    if not path.exists():
        torch.save(predict(first, every, runtime, name="test").predicted, path)
    before = predict(edited, every, runtime, name="test")
    original = torch.load(path, weights_only=True)
    accuracy = 100 * (original == before.labels).double().mean().item()
    changed = 100 * (original != before.predicted).double().mean().item()
    return {"test": before.accuracy, "test drop": round(accuracy - before.accuracy, 4), "churn": changed}


def read_lines() -> list[Line]:
    """Return what was measured so far."""
    found = [json.loads(path.read_text("utf-8")) for path in RUNS.glob("*-measured.json")]
    order = list(ARRANGEMENTS)
    return sorted(found, key=lambda line: (order.index(line["arrangement"]), line["seed"], line["request"]))


def at_once(strength: Strength, seeds: set[int]) -> list[float]:
    """Return the points of test accuracy that one request of the same 256 images loses, for each seed."""
    drops = []
    for text in AT_ONCE.read_text("utf-8").splitlines():
        line = json.loads(text)
        result = line["result"]
        if line["cell"].startswith(f"least-change ({strength.value}), k = {REQUESTS * ROWS},"):
            seed = int(line["cell"].rpartition(" ")[2])
            drops += [drop_of(result)] if seed in seeds else []
    return drops


def drop_of(result: Mapping[str, Any]) -> float:
    """Return the points of test accuracy lost by a result of `expunge bench`."""
    return float(result["before"]["test"]["accuracy"] - result["after"]["test"]["accuracy"])


def write_results(lines: list[Line]) -> None:
    """Write page, figures and plot."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(RESULTS / "measured.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_text(RESULTS / "accuracy.svg", make_plot(lines))
    write_text(RESULTS / "README.md", make_page(lines))


def by_request(lines: list[Line], arrangement: str) -> Iterator[tuple[int, list[Line]]]:
    """Yield each request's number and its lines, one a seed."""
    own = [line for line in lines if line["arrangement"] == arrangement]
    for number in sorted({line["request"] for line in own}):
        yield number, [line for line in own if line["request"] == number]


def make_plot(lines: list[Line]) -> str:
    """Return the plot of points of test accuracy lost over images forgotten, as SVG."""
    mpl.rcParams["svg.hashsalt"] = "expunge"
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for (name, how), marker, colour in zip(ARRANGEMENTS.items(), "osD^", ("C0", "C1", "C2", "C3"), strict=True):
        groups = [(own[0]["of"], own) for _, own in by_request(lines, name) if all("test" in line for line in own)]
        means = [statistics.mean(line["test drop"] for line in own) for _, own in groups]
        axes.plot([of for of, _ in groups], means, marker=marker, color=colour, label=name)
        drops = at_once(how.strength, {line["seed"] for line in lines if line["arrangement"] == name})
        if drops:
            label = f"{how.strength.value}, at once" if not how.keepers else None
            axes.plot([REQUESTS * ROWS], [statistics.mean(drops)], marker="*", ms=12, ls="", color=colour, label=label)
    axes.set_xlabel("images to forget so far")
    axes.set_ylabel("test accuracy lost, points")
    axes.grid(alpha=0.3)
    axes.legend()
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return stream.getvalue()


def make_page(lines: list[Line]) -> str:
    """Return the Markdown page."""
    rows = [row for name in ARRANGEMENTS for number, own in by_request(lines, name) for row in [make_row(own)]]
    return "\n".join(
        [
            "# 16 deletion requests of 16 images, one after another, and one of 256",
            "",
            "CIFAR-10, ResNet-20, random training images; classifier and requests only, `least-change` with its "
            "settings for thorough effort. Each edit goes on from the newest weights, charges for the change "
            "since the first classifier, and keeps all earlier images forgotten: by the images themselves, or by "
            "keepers in place of them (docs/requests.md). Means over forget sets, which are the same for all "
            "arrangements. `forgotten` are the images of all requests so far that are misclassified, the least of"
            " the sets; `copies`, in percent, "
            f"those of {COPIES} fresh transformed copies of each. Drops are points of top-1 accuracy on all 10,000 "
            "test images; `churn` is the share of their answers that changed. Processor seconds are those of the whole "
            "command `apply`; seconds those of the edit, by the clock of a machine that did other work as well.",
            "",
            "Written by `python benchmarks/requests_cifar10.py`; [measured.jsonl](measured.jsonl) has every figure.",
            "",
            "![test accuracy lost over images forgotten](accuracy.svg)",
            "",
            "| arrangement | request | forget sets | forgotten | copies, % | test drop | churn, % | steps | "
            "processor seconds | seconds |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            *compare_at_once(lines),
            f"Machine: {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, shared with "
            f"other work; torch {torch.__version__}, expunge {__version__}, device cpu.",
            "",
        ]
    )


def make_row(own: list[Line]) -> str:
    """Return a line of the table, from the lines of all seeds."""

    def mean(name: str, digits: int = 2) -> str:
        values = [line[name] for line in own if line.get(name) is not None]
        return f"{statistics.mean(values):.{digits}f}" if len(values) == len(own) else ""

    forgotten = f"{min(line['forgotten'] for line in own)} of {own[0]['of']}"
    cells = (own[0]["arrangement"], own[0]["request"], len(own), forgotten, mean("copies", 1), mean("test drop"))
    return (
        "| "
        + " | ".join(map(str, (*cells, mean("churn"), mean("steps", 0), mean("processor", 0), mean("seconds", 0))))
        + " |"
    )


def compare_at_once(lines: list[Line]) -> list[str]:
    """Return a sentence for each arrangement on what all requests lose, and what a single one does."""
    told = []
    for name, how in ARRANGEMENTS.items():
        last = [own for number, own in by_request(lines, name) if number == REQUESTS]
        if not last or not all("test" in line for line in last[0]):
            continue
        seeds = {line["seed"] for line in last[0]}
        drops = at_once(how.strength, seeds)
        lost = statistics.mean(line["test drop"] for line in last[0])
        single = f"; one request of the same images {statistics.mean(drops):.2f}" if len(drops) == len(seeds) else ""
        told += [f"**{name}**: {REQUESTS} requests lose {lost:.2f} points of test accuracy{single}.", ""]
    return told


if __name__ == "__main__":
    main()
