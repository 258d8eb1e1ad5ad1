"""CIFAR-10: full audits of one l2ul and one least-change edit, with shadow and retrained classifiers, side by side.

    python benchmarks/audit_cifar10.py [--smoke]

Everything is small enough for two cores: a ResNet-20 is trained on the first 6,000 training images for 12 epochs
without augmentation, so that it knows its rows by heart; 64 of them are forgotten by each method. Eight shadow
classifiers are trained on halves of the 6,000 images, three retrained ones on all but the 64, by the same recipe. Since
each shadow classifier unlearns too, least-change does without inverted images, which are made anew for each classifier.
Last, the cost of a quick audit is measured beside an edit of 16 rows of the ResNet-20 with published weights.

It can be stopped and started again: what is there is not made again. Writes README.md, measured.jsonl and audit.svg to
benchmarks/results/audit_cifar10; the pages report.html and compare.html stay under runs/, since they show forgotten
images. Needs the classifier and the arrays of CIFAR-10, see benchmarks/README.md. --smoke does all of it on a few
hundred images and writes no results.
"""

import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot

from expunge._version import __version__
from expunge.audit.audit_json import read_audit
from expunge.audit.record import Audit, Figure, Level
from expunge.base.disk import write_bytes, write_text
from expunge.base.errors import DataError
from expunge.bench.cells import find_data
from expunge.cli.run import read_job
from expunge.compute.bars import Bars
from expunge.jobs.audit import AuditJob, PoolPart, run_audit_job
from expunge.jobs.job import DataPart, ForgetPart, Job, ModelPart
from expunge.jobs.run import run_job
from expunge.jobs.train import RESULT, TrainJob, run_train_job
from expunge.models.description import WEIGHTS_FILE
from expunge.report import write_comparison
from expunge.task.task import Strength
from expunge.training import Augmentation, Recipe

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "audit_cifar10"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
METHODS: dict[str, dict[str, Any]] = {
    "l2ul": {},
    "least-change": {"exact": {"steps": 20}, "surrogates": {"inverted": 0, "procedural": 512, "mixes": 1000}},
}
SEED = 0
QUICK_METHOD, QUICK_ROWS = "l2ul", 16
COLOURS = {"original": "#999999", "l2ul": "#0072B2", "least-change": "#D55E00", "retrained": "#009E73"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything, and where it goes."""

    runs: Path
    train: int
    test: int
    epochs: int
    forget: int
    shadows: int
    retrained: int
    max_steps: int | None = None


FULL = Size(ROOT / "runs" / "audit_cifar10", 6_000, 10_000, 12, 64, 8, 3)
SMOKE = Size(ROOT / "runs" / "audit_cifar10_smoke", 400, 200, 2, 8, 4, 2, max_steps=3)


def main(size: Size) -> None:
    """Make what is missing, then write the pages and the table."""
    recipe = Recipe(epochs=size.epochs, augmentation=Augmentation.NONE)
    model, data = train_base(size, recipe, make_images(size))
    audits = {method: audit_method(size, method, recipe, model, data) for method in METHODS}
    timing = time_quick_audit(size)
    write_comparison([audit.folder for audit in audits.values()], size.runs / "compare.html")
    if size is FULL:
        RESULTS.mkdir(parents=True, exist_ok=True)
        write_text(RESULTS / "README.md", make_page(size, audits, timing))
        write_text(RESULTS / "measured.jsonl", make_lines(audits))
        draw(audits, RESULTS / "audit.svg")
    print(make_page(size, audits, timing))


def make_images(size: Size) -> Path:
    """Return the file of images: the first training images, and test images drawn evenly from all classes."""
    path = size.runs / "images.npz"
    if not path.exists():
        arrays = ROOT / "runs" / "data"
        size.runs.mkdir(parents=True, exist_ok=True)
        with np.load(arrays / "cifar10.npz") as found:
            step = len(found["x_test"]) // size.test
            stream = io.BytesIO()
            np.savez(
                stream,
                x_train=found["x_train"][: size.train],
                y_train=found["y_train"][: size.train],
                x_test=found["x_test"][::step],
                y_test=found["y_test"][::step],
                classes=found["classes"],
            )
        write_bytes(path, stream.getvalue())
    return path


def train_base(size: Size, recipe: Recipe, images: Path) -> tuple[ModelPart, DataPart]:
    """Return the classifier that is edited, and its images; train it if it is not there."""
    model = ModelPart(architecture="cifar:resnet20", num_classes=10, mean=MEAN, std=STD)
    data = DataPart(source=f"npz:{images}")
    folder = size.runs / "base"
    if not (folder / RESULT).exists():
        say("train the classifier")
        job = TrainJob(model=model, data=data, recipe=recipe, seed=SEED, device="cpu")
        run_train_job(job, folder, progress=Bars(), overwrite=False)
    return replace(model, weights=str(folder / WEIGHTS_FILE)), data


def audit_method(size: Size, method: str, recipe: Recipe, model: ModelPart, data: DataPart) -> Audit:
    """Return the full audit of a method's edit; make both if they are not there."""
    folder = size.runs / method
    if not (folder / "result.json").exists():
        say(f"{method}: forget {size.forget} rows")
        job = Job(
            model=model,
            data=data,
            forget=ForgetPart(random=size.forget),
            method=method,
            settings=METHODS[method],
            strength=Strength.EXACT,
            seed=SEED,
            max_steps=size.max_steps,
            minimum_right=0.0 if size is SMOKE else 0.5,
            device="cpu",
        )
        run_job(job, folder, progress=Bars(), overwrite=True)
    if not (folder / "audit" / "audit.json").exists():
        say(f"{method}: audit")
        asked = AuditJob(
            job=read_job(folder / "job.toml", {}, ()),
            after=replace(model, weights=str(folder / "model.safetensors")),
            level=Level.FULL,
            run=folder,
            shadows=PoolPart(folder=str(size.runs / "pool"), count=size.shadows),
            retrained=PoolPart(folder=str(size.runs / "pool"), count=size.retrained),
            recipe=recipe,
        )
        run_audit_job(asked, folder / "audit", progress=Bars(), overwrite=True)
    return read_audit(folder / "audit")


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU seconds of an edit of 16 rows with 10,000 test images: with measuring, and with a quick audit besides."""

    method: str
    plain: float
    audited: float

    @property
    def added(self) -> float:
        """Return what the audit adds, in percent."""
        return 100 * (self.audited / self.plain - 1)


def time_quick_audit(size: Size) -> Timing:
    """Return what a quick audit adds to a whole `expunge run`; timed once, and kept in a file."""
    path = size.runs / f"timing-{QUICK_METHOD}.csv"
    if not path.exists():
        say("time a quick audit")
        seconds = {level: time_run(size, level) for level in (Level.NONE, Level.QUICK)}
        write_text(path, f"{seconds[Level.NONE]},{seconds[Level.QUICK]}\n")
    plain, audited = (float(cell) for cell in path.read_text().split(","))
    return Timing(QUICK_METHOD, plain, audited)


def time_run(size: Size, level: Level) -> float:
    """Return the CPU seconds of a run in a process of its own, imports included."""
    arrays, weights = (
        ROOT / "runs" / "data" / "cifar10.npz",
        find_data() / "classifiers" / "cifar10_resnet20.safetensors",
    )
    command = [sys.executable, "-m", "expunge", "run", "--model", "cifar:resnet20", "--weights", str(weights)]
    command += ["--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)), "--data", f"npz:{arrays}"]
    command += [
        "--method",
        QUICK_METHOD,
        "--forget-random",
        str(QUICK_ROWS),
        "--audit",
        level.value,
        "--device",
        "cpu",
        "--overwrite",
    ]
    command += ["--out", str(size.runs / f"timing-{level.value}")]
    if size is SMOKE:
        command += ["--max-steps", "2", "--test-rows", "200", "--retain-rows", "200"]
    before = os.times()
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own command
    after = os.times()
    if done.returncode not in (0, 3):
        raise DataError("expunge run", "an edit", done.stderr[-300:])
    return after.children_user + after.children_system - before.children_user - before.children_system


def make_page(size: Size, audits: Mapping[str, Audit], timing: Timing) -> str:
    """Return the Markdown page: what was done, both verdicts, every figure."""
    first = next(iter(audits.values()))
    pools = first.subject.pools or {}
    lines = [
        "# Full audits of two edits of CIFAR-10, ResNet-20",
        "",
        f"A ResNet-20 trained on {size.train:,} images for {size.epochs} epochs without augmentation forgets "
        f"{size.forget} of them, by each method. Shadow classifiers: {pools.get('shadow')}; each then unlearns those "
        f"of the {size.forget} rows that it saw, by the method that is audited. Retrained classifiers: "
        f"{pools.get('retrained')}. least-change works without inverted surrogates here (`{METHODS['least-change']}`), "
        "since they would be made anew for each shadow classifier. One forget set, one seed: the figures show what an "
        "audit says, not which method is better; for that, see the other tables.",
        "",
        "Written by `python benchmarks/audit_cifar10.py`, which also writes each report and their comparison as pages; "
        "[measured.jsonl](measured.jsonl) has every figure with its 95% interval. A figure that misses its "
        "target is marked with *; what it means stands in [audit.md](../../../docs/audit.md).",
        "",
        "![Membership, relearning and likeness of layers](audit.svg)",
        "",
    ]
    for method, audit in audits.items():
        lines += [f"**{method}.** {' '.join(audit.verdict)}", ""]
    lines += ["| figure | unit | target | " + " | ".join(audits) + " |", "|---" * (len(audits) + 3) + "|"]
    for name, figure in first.figures.items():
        each = [say_figure(audit.figures[name]) for audit in audits.values()]
        targets = {target_of(audit.figures[name]) for audit in audits.values()}
        target = targets.pop() if len(targets) == 1 else "each its own"
        lines.append(f"| {figure.title} (`{name}`) | {figure.unit} | {target} | " + " | ".join(each) + " |")
    lines += [
        "",
        f"A quick audit: `expunge run` of {timing.method} with {QUICK_ROWS} rows of the published ResNet-20, 5,000 "
        f"retain and 10,000 test images takes {timing.plain:.1f} CPU seconds, with `--audit quick` "
        f"{timing.audited:.1f}: {timing.added:+.1f}%.",
        "",
        *(f"- {sentence}" for sentence in first.limits),
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, expunge {__version__}, device cpu.",
        "",
    ]
    return "\n".join(lines)


def say_figure(figure: Figure) -> str:
    """Return a cell of the table."""
    if figure.value is None:
        return f"not defined: {figure.reason}"
    return f"{figure.value:,.4g}{' *' if figure.flagged else ''}"


def target_of(figure: Figure) -> str:
    """Return the target in words."""
    words = {"higher": "at least", "lower": "at most", "near": "near", "none": ""}
    return "" if figure.target is None else f"{words[figure.direction.value]} {figure.target:,.4g}".strip()


def make_lines(audits: Mapping[str, Audit]) -> str:
    """Return one line of JSON a figure and method."""
    lines = []
    for method, audit in audits.items():
        for name, figure in audit.figures.items():
            low, high = figure.interval or (None, None)
            rest = {each: getattr(figure, each) for each in ("unit", "target", "flagged", "measured_on", "reason")}
            line = {"figure": name, "method": method, "value": figure.value, "low": low, "high": high, **rest}
            lines.append(json.dumps(line) + "\n")
    return "".join(lines)


def draw(audits: Mapping[str, Audit], path: Path) -> None:
    """Draw ROC curves of RMIA, relearning curves and the likeness of layers."""
    mpl.rcParams["svg.hashsalt"] = "expunge"
    figure, (roc, relearning, layers) = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for number, (method, audit) in enumerate(audits.items()):
        curves = [row for row in audit.table("membership") if row["attack"] == "rmia"]
        for when in ("before", "after"):
            if when == "before" and number:
                continue
            points = [(float(row["fpr"]), float(row["tpr"])) for row in curves if row["when"] == when]
            name = "original" if when == "before" else method
            roc.plot(*zip(*points, strict=True), color=COLOURS[name], label=name)
        for classifier in ("original", "edited", "retrained 1"):
            if classifier != "edited" and number:
                continue
            rows = [row for row in audit.table("relearning") if row["classifier"] == classifier]
            name = {"original": "original", "edited": method, "retrained 1": "retrained"}[classifier]
            steps, reached = ([float(row[column]) for row in rows] for column in ("step", "accuracy"))
            relearning.plot(steps, reached, color=COLOURS[name], label=name)
        rows = [row for row in audit.table("cka") if row["part"] == "forget" and row["cka"]]
        layers.plot([float(row["cka"]) for row in rows], color=COLOURS[method], label=method)
    roc.plot([0, 1], [0, 1], color="black", linewidth=0.5, linestyle="dotted")
    roc.set(xlabel="unseen images taken for seen", ylabel="forgotten rows taken for seen", title="RMIA")
    relearning.set(xlabel="steps of training on other images", ylabel="forgotten rows right, %", title="Relearning")
    layers.set(xlabel="layer", ylabel="linear CKA, forgotten rows", title="Likeness before and after", ylim=(0, 1.02))
    for axes in (roc, relearning, layers):
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def say(text: str) -> None:
    """Say what comes next."""
    print(f"{time.strftime('%H:%M')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--smoke"]):
        sys.exit(__doc__)
    main(SMOKE if sys.argv[1:] else FULL)
