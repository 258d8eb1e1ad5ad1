"""CIFAR-10, ResNet-20: 16 deletion requests of 16 rows, one after another, beside one request of 256.

    python benchmarks/requests_cifar10.py

Uses the ledger itself, so it can be stopped and started again: requests that were applied are not applied again.
Writes README.md, measured.jsonl and accuracy.svg to benchmarks/results/requests_cifar10; the projects are kept under
runs/. Needs the classifier and the arrays of CIFAR-10, see benchmarks/README.md.

Surrogates are dead leaves and mixes only. Inverted images would be better, but they belong to one classifier, and each
version of the weights is another: they would be made anew for every request.
"""

import io
import json
import os
import platform
import sys
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot

from expunge._version import __version__
from expunge.base.tensors import write_json, write_text
from expunge.bench.cells import find_data
from expunge.compute.bars import Bars
from expunge.compute.runtime import Runtime
from expunge.data import forget_set, load_data, random_rows
from expunge.data.images import Images, Subset
from expunge.methods.continual import holds
from expunge.models.classifier import Classifier, Normalisation
from expunge.models.sources import ModelSource
from expunge.requests.apply import apply_waiting
from expunge.requests.create import Plan, create_project
from expunge.requests.images import load_rows
from expunge.requests.project import Ledger
from expunge.requests.receive import RequestOptions, receive
from expunge.requests.recovery import writing
from expunge.requests.state import State
from expunge.requests.weights import load_first, rebuild, with_weights
from expunge.task.evaluation import predict
from expunge.task.task import Strength

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "requests_cifar10"
RESULTS = ROOT / "benchmarks" / "results" / "requests_cifar10"
REQUESTS, ROWS = 16, 16
METHOD = "least-change"
SETTINGS = {"exact": {"steps": 20}, "surrogates": {"inverted": 0, "procedural": 512, "mixes": 1000}}
ARRANGEMENTS = {"one after another": ROWS, "at once": REQUESTS * ROWS}
KEPT = date(2999, 12, 31)
COLUMNS = ("arrangement", "request", "rows forgotten", "of", "came back", "rounds", "seconds", "test", "test drop")


def main() -> None:
    """Apply what is missing, measure every version, write page, figures and plot."""
    data = load_data(f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}")
    assert data.test is not None  # noqa: S101
    order = torch.tensor(random_rows(data.train, REQUESTS * ROWS, seed=0))
    rows = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(0))].tolist()
    found = []
    for name, size in ARRANGEMENTS.items():
        folder = RUNS / name.replace(" ", "-")
        apply_all(folder, data.train, [rows[start : start + size] for start in range(0, len(rows), size)])
        found += measure(name, folder, data.test)
    write_results(found)


def apply_all(folder: Path, train: Images, parts: list[list[int]]) -> None:
    """Make one request of each part that the project has not applied yet, and apply it, one after another."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        weights = find_data() / "classifiers" / "cifar10_resnet20.safetensors"
        source = ModelSource("cifar:resnet20", weights, 10, Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        create_project(folder, Plan(model=source, method=METHOD, settings=SETTINGS, strength=Strength.EXACT))
    for number, rows in enumerate(parts):
        with writing(folder) as ledger:
            if len(ledger.state.requests) <= number:
                receive(
                    ledger, forget_set(train, rows), RequestOptions(reference=f"request {number + 1}", keep_until=KEPT)
                )
            if ledger.state.in_state(State.VALIDATED, State.APPLIED):
                print(f"{folder.name}: request {number + 1} of {len(parts)}", file=sys.stderr)
                report = apply_waiting(ledger, Runtime(progress=Bars()))
                for name, reason in report.failed.items():
                    print(f"{name}: {reason}", file=sys.stderr)


def measure(name: str, folder: Path, test: Images) -> list[dict[str, Any]]:
    """Return a line for each version: rows forgotten so far, what was repaired, accuracy on all test images."""
    ledger = Ledger.open(folder)
    first, state = load_first(ledger).classifier, ledger.state
    before = test_accuracy(folder, 0, first, test)
    lines = [dict(zip(COLUMNS, (name, 0, 0, 0, 0, 0, 0.0, before, 0.0), strict=True))]
    requests = []
    for version in state.lineage():
        classifier = with_weights(first, rebuild(ledger, version.number))
        requests += [state.requests[one] for one in version.requests]
        held = torch.cat([holds(classifier, load_rows(ledger, request)) for request in requests])
        after = test_accuracy(folder, version.number, classifier, test)
        figures = version.figures
        counts = (len(requests), int(held.sum()), len(held), len(figures["repaired"]), figures["rounds"])
        cells = (name, *counts, figures["seconds"], after, before - after)
        lines.append(dict(zip(COLUMNS, cells, strict=True)))
    return lines


def test_accuracy(folder: Path, version: int, classifier: Classifier, test: Images) -> float:
    """Return the accuracy in percent on all test images; measured once for each version."""
    path = folder.parent / f"{folder.name}-accuracy-{version}.json"
    if not path.exists():
        every = Subset(test, range(len(test.labels)))
        accuracy = predict(classifier, every, Runtime(progress=Bars()), name="test").accuracy
        write_json(path, {"weights_sha256": classifier.sha256(), "accuracy": accuracy})
    accuracy = json.loads(path.read_text("utf-8"))["accuracy"]
    return float(accuracy)


def write_results(lines: list[dict[str, Any]]) -> None:
    """Write page, figures and plot."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(RESULTS / "measured.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_text(RESULTS / "accuracy.svg", make_plot(lines))
    write_text(RESULTS / "README.md", make_page(lines))


def make_plot(lines: list[dict[str, Any]]) -> str:
    """Return the plot of test accuracy over rows forgotten, as SVG."""
    mpl.rcParams["svg.hashsalt"] = "expunge"
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, marker in zip(ARRANGEMENTS, ("o", "s"), strict=True):
        chosen = [line for line in lines if line["arrangement"] == name]
        axes.plot([line["of"] for line in chosen], [line["test"] for line in chosen], marker=marker, label=name)
    axes.set_xlabel("rows to forget so far")
    axes.set_ylabel("test accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend()
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def make_page(lines: list[dict[str, Any]]) -> str:
    """Return the Markdown page."""
    rows = [
        f"| {line['arrangement']} | {line['request']} | {line['rows forgotten']} of {line['of']} | "
        f"{line['came back']} | {line['rounds']} | {line['seconds']:.0f} | "
        f"{line['test']:.2f} | {line['test drop']:.2f} |"
        for line in lines
    ]
    return "\n".join(
        [
            "# 16 deletion requests of 16 rows, one after another, and one of 256",
            "",
            "CIFAR-10, ResNet-20, the same 256 random training images in both; classifier and requests only. After "
            "each request all earlier rows are checked, and those that came back are forgotten again in the same edit "
            "(`came back`, `rounds`). Accuracy is top-1 in percent on all 10,000 test images.",
            "",
            f"Method `{METHOD}`, exact pixels, settings `{json.dumps(SETTINGS)}`: fewer steps than its default, and no "
            "inverted surrogates, since each version of the weights would need its own.",
            "",
            "Written by `python benchmarks/requests_cifar10.py`; [measured.jsonl](measured.jsonl) has the "
            "same figures.",
            "",
            "![test accuracy over rows forgotten](accuracy.svg)",
            "",
            "| arrangement | requests | rows forgotten | came back | rounds | seconds | test | test drop |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Machine: {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, shared with "
            f"other work; torch {torch.__version__}, expunge {__version__}, device cpu.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
