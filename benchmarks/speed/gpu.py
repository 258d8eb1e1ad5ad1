"""Check the package on the device that is there, against the CPU, and time its main paths on it: `make gpu`.

python benchmarks/speed/gpu.py [--device auto] [--seconds 270]

It needs no data: images are textures, the small network is trained on them here, large ones have random weights. What
there is no time left for is left out and said. On two cores without a GPU it takes about three minutes. The result is
runs/speed/gpu/DEVICE.json, which page.py reads.
"""

import argparse
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from setting import RUNS
from torch import nn

from expunge import Classifier, ForgetSet, unlearn
from expunge.base.disk import write_json
from expunge.compute.devices import forget_peak, peak_bytes, wait_for
from expunge.compute.exactness import Float32
from expunge.compute.float64 import to_float64
from expunge.compute.runtime import Runtime
from expunge.methods.least_change.quadratic import solve_multipliers
from expunge.models.sources.cifar_resnets import ARCHITECTURES
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.task import Limits, StopReason

CLASSES, SMALL, LARGE = 10, 32, 224
CPU = torch.device("cpu")
MANY_ROWS = 600
"""More than are solved for on the CPU."""
LARGE_ONES = ("resnet18", "resnet50", "vit_b_16")
SOME_SECONDS, MANY_SECONDS, TO_TRAIN_ON_CPU = 12.0, 25.0, 150.0


@dataclass
class Report:
    """What was found, and how much time is left."""

    device: torch.device
    seconds: float
    started: float = field(default_factory=time.perf_counter)
    checks: list[dict[str, Any]] = field(default_factory=list)
    timings: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.seconds - (time.perf_counter() - self.started)

    def check(self, name: str, holds: bool, **figures: float) -> None:
        """Note whether a check holds, and with which figures."""
        self.checks.append({"name": name, "holds": bool(holds), **figures})
        print("ok " if holds else "NOT", name, figures)

    @contextmanager
    def part(self, name: str, needed: float = 0.0) -> Iterator[bool]:
        """Open a part; it fails alone, and is left out where less time than `needed` is left."""
        if self.left < needed:
            self.left_out.append(name)
            yield False
            return
        try:
            yield True
        except Exception as error:  # the other parts go on
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.check(f"{name}: {type(error).__name__}: {error} ({where.name})", False)

    def write(self) -> None:
        """Write it all to a file of the device's name."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        kept = {name: getattr(self, name) for name in ("checks", "timings", "left_out")}
        machine = {"device": name, "machine": platform.machine(), "torch": torch.__version__}
        took = {"seconds": round(time.perf_counter() - self.started, 1)}
        (RUNS / "gpu").mkdir(parents=True, exist_ok=True)
        write_json(RUNS / "gpu" / f"{name.replace(' ', '-').replace(':', '-')}.json", {**machine, **took, **kept})


def draw_textures(count: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (count, 3, size, size) whose coarse pattern tells their class, and the classes."""
    fixed, drawn = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
    patterns = F.interpolate(torch.rand(CLASSES, 3, 6, 6, generator=fixed), size=(size, size), mode="bilinear")
    own = F.interpolate(torch.rand(count, 3, 8, 8, generator=drawn), size=(size, size), mode="bilinear")
    labels = torch.arange(count) % CLASSES
    return 0.5 * patterns[labels] + 0.5 * own, labels


def train_small(device: torch.device, architecture: str = "resnet20") -> Classifier:
    """Return a network for small images that knows its textures, on the CPU."""
    torch.manual_seed(0)
    network = ARCHITECTURES[architecture](CLASSES).to(device).train()
    x, labels = (each.to(device) for each in draw_textures(512, SMALL, 0))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for start in [*range(0, 512, 64)] * 5:
        optimiser.zero_grad()
        F.cross_entropy(network((x[start : start + 64] - 0.5) / 0.25), labels[start : start + 64]).backward()
        optimiser.step()
    return Classifier.wrap(network.cpu().eval(), num_classes=CLASSES, mean=(0.5,) * 3, std=(0.25,) * 3)


def make_rows(classifier: Classifier, count: int, size: int, device: torch.device) -> ForgetSet:
    """Return rows with the labels that the classifier gives them."""
    x, _ = draw_textures(count, size, 0)
    labels = compute_logits(classifier.to(device), x, 16).argmax(dim=1).cpu()
    return ForgetSet(tuple(map(str, range(count))), x, labels)


def check_device(report: Report, classifier: Classifier) -> None:
    """Compare the device with the CPU in what everything rests on."""
    device, x = report.device, draw_textures(32, SMALL, 3)[0]
    with report.part("answers"):
        wanted, found = (compute_logits(classifier.to(place), x).cpu() for place in (CPU, device))
        far = float((wanted - found).abs().max() / wanted.abs().max())
        report.check("answers in IEEE float32 are those of the CPU", far < 1e-4, difference=far)
    with report.part("names"):
        moved = classifier.to(device)
        report.check("a classifier that is there already is not copied", moved.to(torch.device(device.type)) is moved)
    with report.part("programme"):
        grams = {"regular": torch.eye(4) + 0.5, "singular": torch.ones(4, 4), "empty": torch.zeros(4, 4)}
        target = torch.tensor([1.0, 2.0, -1.0, 0.5])
        programmes = {name: (gram, target) for name, gram in grams.items()}
        rows = torch.randn(MANY_ROWS, MANY_ROWS, generator=torch.Generator().manual_seed(0)) / MANY_ROWS**0.5
        programmes["many rows"] = (rows @ rows.T + torch.eye(MANY_ROWS), rows[0] * MANY_ROWS**0.5)
        for name, programme in programmes.items():
            wanted, found = (
                solve_multipliers(*(each.to(place) for each in programme)).cpu() for place in (CPU, device)
            )
            report.check(f"quadratic programme, {name}", torch.allclose(wanted, found, atol=1e-4))
    with report.part("double precision"):
        report.check("double precision is somewhere", to_float64(torch.ones(1, device=device)).dtype == torch.float64)


def check_edits(report: Report, classifier: Classifier) -> None:
    """Check that edits reach their goal on the device, and that a deterministic one is repeated bit for bit."""
    rows = make_rows(classifier, 8, SMALL, CPU)
    for method, strength in (("least-change", "exact"), ("least-change", "robust"), ("l2ul", "exact")):
        with report.part(f"{method}, {strength}", SOME_SECONDS) as goes:
            if goes:
                limits = {"max_seconds": report.left / 3}
                edit = _edit(classifier, rows, Runtime(report.device), method=method, strength=strength, **limits)
                if edit.stop_reason is StopReason.TIME_LIMIT:
                    report.left_out.append(f"{method}, {strength}: no time for more than {edit.steps} steps")
                    continue
                reached = edit.stop_reason is StopReason.GOAL_REACHED
                report.check(f"{method}, {strength}: the goal is reached", reached, steps=edit.steps)
    with report.part("deterministic", SOME_SECONDS) as goes:
        if goes:
            runtime = Runtime(report.device, deterministic=True, float32=Float32.IEEE)
            hashes = {_edit(classifier, rows, runtime, max_steps=5).classifier.sha256() for _ in range(2)}
            report.check("deterministic: same seed, same bits", len(hashes) == 1)


def time_edits(report: Report, small: Classifier) -> None:
    """Time whole edits of 16 and 64 images; of large networks, some steps where all would take too long."""
    for count in (16, 64):
        _time(report, "ResNet-20", lambda: small, count, SMALL)
    name = "ResNet-18 for small images"
    with report.part(name, TO_TRAIN_ON_CPU if report.device.type == "cpu" else MANY_SECONDS) as goes:
        if goes:
            _time(report, name, lambda: train_small(report.device, "resnet18"), 16, SMALL)
    if report.device.type == "cpu":
        report.left_out += [f"{name}: too slow on a CPU" for name in LARGE_ONES]
        return
    for name in LARGE_ONES:
        with report.part(name, MANY_SECONDS) as goes:
            if goes:
                _time(report, name, lambda name=name: _make_large(name), 16, LARGE)  # type: ignore[misc]


def _time(report: Report, name: str, make: Callable[[], Classifier], count: int, size: int) -> None:
    classifier = make()
    rows = make_rows(classifier, count, size, report.device)
    for strength in ("exact", "robust"):
        with report.part(f"{name}, {strength}, {count}", SOME_SECONDS) as goes:
            if not goes:
                continue
            forget_peak(report.device)
            started = time.perf_counter()
            edit = _edit(classifier, rows, Runtime(report.device), strength=strength, max_seconds=report.left / 2)
            wait_for(report.device)
            seconds = time.perf_counter() - started
            report.timings.append(
                {
                    "network": name,
                    "strength": strength,
                    "rows": count,
                    "seconds": round(seconds, 2),
                    "steps": edit.steps,
                    "stop": edit.stop_reason.value,
                    "phases": {phase: round(taken, 2) for phase, taken in edit.cost.seconds_by_phase.items()},
                    "gigabytes": round(peak_bytes(report.device) / 2**30, 2),
                }
            )
            print(f"{name}, {strength}, {count}: {seconds:.1f} s")


def _edit(classifier: Classifier, rows: ForgetSet, runtime: Runtime, **options: Any) -> Edit:  # noqa: ANN401
    limits = Limits(options.pop("max_steps", None), options.pop("max_seconds", None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return unlearn(classifier, rows, runtime=runtime, limits=limits, **options)


def _make_large(name: str) -> Classifier:
    """Return a network of torchvision with random weights and, where it has BatchNorm, statistics of textures."""
    import torchvision  # noqa: PLC0415 - an extra

    torch.manual_seed(0)
    network = getattr(torchvision.models, name)()
    if name.startswith("vit"):
        nn.init.normal_(network.heads[-1].weight, std=0.03)  # it starts at 0, and no class would differ from another
    network.train()
    with torch.no_grad():
        network((draw_textures(8, LARGE, 5)[0] - 0.5) / 0.25)
    return Classifier.wrap(network.eval(), num_classes=1000, mean=(0.5,) * 3, std=(0.25,) * 3)


def main() -> None:
    """Check, time, write; the exit code says whether all checks hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=270.0)
    given = parser.parse_args()
    report = Report(Runtime.on(given.device).device, given.seconds)
    small = train_small(report.device)
    print(f"a network was trained: {report.seconds - report.left:.1f} s since the start")
    check_device(report, small)
    check_edits(report, small)
    time_edits(report, small)
    report.write()
    raise SystemExit(not all(each["holds"] for each in report.checks))


if __name__ == "__main__":
    main()
