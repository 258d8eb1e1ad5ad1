"""What a device is asked for in each step: kernels that it starts, and how often the host waits for it.

    python benchmarks/speed/counts.py [NAME]

The device is not there: its tensors lie in the CPU's memory and obey a device's rules (tests/samples/pretended.py).
ResNet-20, 32 x 32, 16 images to forget. What a longer run asks for beyond a shorter one belongs to its further steps;
looks of the stop rule are counted apart. No data are needed. NAME is that of the column, `now` if none is given; with
the sources of another commit in PYTHONPATH, the script counts what that one did. About a minute.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["EXPUNGE_PRETEND"] = "1"
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "samples"))

import pretended
import torch
from pretended import NAME, Device, pretend
from setting import keep

from expunge import Attack, Classifier, ForgetSet, Limits, Strength, make_method, unlearn
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods import engine
from expunge.models.normalised import Normalised
from expunge.models.sources.cifar_resnets import CifarResNet
from expunge.surrogates.attack import attack_targets
from expunge.surrogates.inverted import Inversion, invert_classifier
from expunge.task.task import StopReason

SHORT, LONG = 3, 5
ROWS = 16
SURROGATES = {"mixes": 64, "inverted": 0, "procedural": 0}
SLOW = {"learning_rate": 1e-9}
EDITS: dict[str, tuple[str, Strength, dict[str, Any]]] = {
    "least-change, exact": ("least-change", Strength.EXACT, {"surrogates": SURROGATES}),
    "least-change, robust": ("least-change", Strength.ROBUST, {"surrogates": SURROGATES}),
    "l2ul": ("l2ul", Strength.EXACT, {"attack": {"targets_per_row": 4, "steps": 1}, "descent": SLOW}),
    "negative-gradient": ("negative-gradient", Strength.EXACT, {"descent": SLOW}),
}
"""Method, strength and settings of each edit; none reaches the goal in so few steps."""
Counts = dict[str, float]


def make_setting() -> tuple[Classifier, ForgetSet]:
    """Return a ResNet-20 with random weights, on the device, and images with the labels that it gives them."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    classifier = Classifier(Normalised(CifarResNet(3, 10).eval()), num_classes=10)
    x = torch.rand(ROWS, 3, 32, 32, generator=generator)
    with torch.no_grad():
        labels = classifier(x).argmax(dim=1)
    return classifier.to(torch.device(NAME)), ForgetSet(tuple(map(str, range(ROWS))), x, labels)


def ask(device: Device) -> Counts:
    """Return what the device was asked for until now."""
    return {"kernels": device.kernels, "waits": device.waits.total()}


def less(after: Counts, before: Counts, times: int = 1) -> Counts:
    """Return what came in between, each of so many times."""
    return {name: (after[name] - before[name]) / times for name in after}


def count_steps(work: Callable[[int], object]) -> Counts:
    """Return what one step asks for, from a run of `SHORT` steps and one of `LONG`."""
    asked = {}
    for steps in (SHORT, SHORT, LONG):  # the first one fills what is cached
        with pretend() as device:
            work(steps)
            asked[steps] = ask(device)
    return less(asked[LONG], asked[SHORT], LONG - SHORT)


def count_edit(method: str, strength: Strength, settings: dict[str, Any]) -> dict[str, Counts]:
    """Return what a step and a look of an edit ask for."""
    looks = list[Counts]()

    def edit(steps: int) -> None:
        looks.clear()
        classifier, rows = make_setting()
        with seeing_looks(looks):
            made = unlearn(
                classifier,
                rows,
                method=make_method(method, settings),
                strength=strength,
                limits=Limits(steps=steps),
                runtime=Runtime(classifier.device, batch_size=64),
            )
        assert made.steps == steps, made  # noqa: S101 - the counts would be of something else

    both = count_steps(edit)
    look = looks[-2]  # neither the first, nor the last, which looks at everything
    return {"step": less(both, look), "look": look}


@contextmanager
def seeing_looks(found: list[Counts]) -> Iterator[None]:
    """Put down in `found` what each look of the stop rule asks for."""
    look = engine._Judge.look

    def counted(self: engine._Judge, steps: int, *, last: bool = True) -> tuple[StopReason | None, int]:
        before = ask(pretended._device)
        answer = look(self, steps, last=last)
        found.append(less(ask(pretended._device), before))
        return answer

    engine._Judge.look = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        engine._Judge.look = look  # type: ignore[method-assign]


def attack(steps: int) -> None:
    """Attack each image with four targets; none is reached."""
    classifier, rows = make_setting()
    targets = (rows.y.unsqueeze(1) + torch.arange(1, 5)) % 10
    found = attack_targets(
        classifier.frozen_copy(),
        rows.x.to(classifier.device),
        targets.to(classifier.device),
        Attack(steps=steps, enough=1e9),
        generator=torch.Generator().manual_seed(0),
        context=Context(Runtime(classifier.device, batch_size=64)),
    )
    for _ in found:
        pass


def invert(steps: int) -> None:
    """Invert 64 images."""
    classifier, _ = make_setting()
    context = Context(Runtime(classifier.device, batch_size=64))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EXPUNGE_CACHE"] = folder
        invert_classifier(classifier.frozen_copy(), 64, (3, 32, 32), Inversion(steps=steps), context)


def measure() -> dict[str, Counts]:
    """Return the counts of each loop by name."""
    edits = {name: count_edit(*edit) for name, edit in EDITS.items()}
    looks = {"stop rule, one look": edits["least-change, exact"]["look"]}
    surrogates = {"attack": count_steps(attack), "inversion": count_steps(invert)}
    return {**{name: edit["step"] for name, edit in edits.items()}, **looks, **surrogates}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(keep(f"counts/{sys.argv[1] if len(sys.argv) > 1 else 'now'}", measure))
