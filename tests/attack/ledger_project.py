"""A small project to attack, quick to edit, and children that are killed or fail while they work on it."""

import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import expunge.requests as package
from expunge.base.errors import ExpungeError
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource
from expunge.requests import drift, snapshot, versions
from expunge.requests.apply import apply_waiting
from expunge.requests.create import Plan, create_project
from expunge.requests.purge import purge_images
from expunge.requests.rebase import purge_versions
from expunge.requests.receive import RequestOptions, receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo
from expunge.requests.state import State
from expunge.task.outcome import Health

NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 3))
"""
HASTY = {"growth": 1.5, "attack": {"targets_per_row": 1, "steps": 1}, "descent": {"learning_rate": 0.03}}
OURS = (str(Path(package.__file__).parent), str(Path(package.__file__).parents[1] / "base" / "disk.py"))
REFUSED, BROKEN = 2, 1
"""Exit codes of a child that said what was wrong, and of one that ended in a traceback."""


def never_ruined(*_: object) -> Health:
    """Return the health of a classifier that changed nothing."""
    answers = np.arange(3)
    return Health.of("test", answers, answers, classes=3, labels=answers)


def hasten() -> None:
    """Make verification and drift quick, and snapshots after each entry: none of them is what is attacked here.

    No edit counts as ruining: so small a classifier is ruined by most of them.
    """
    torch.set_num_threads(1)
    versions.find_health = never_ruined
    versions.measure_robust_goal = partial(versions.measure_robust_goal, copies=1)
    drift.LEAVES = 8
    snapshot.FEWEST = 1


def draw_rows(count: int = 60) -> ForgetSet:
    """Return images of 6x5 pixels whose colour tells their class."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    x = torch.rand(count, 3, 6, 5, generator=draw) * 0.35
    x[torch.arange(count), labels] += 0.45
    return ForgetSet(tuple(f"row-{row}" for row in range(count)), x, labels)


def put_on_path(folder: Path, source: str) -> str:
    """Write a module to `folder`, and return the name that it can be imported by, which no other has."""
    folder.mkdir(exist_ok=True)
    name = f"attacked_{random.getrandbits(40):x}"
    (folder / f"{name}.py").write_text(source)
    sys.path.insert(0, str(folder))
    return name


def make_plan(folder: Path) -> Plan:
    """Return the plan of a project around a classifier that is made in `folder`."""
    name = put_on_path(folder, NETWORK)
    rows = draw_rows()
    mean = torch.stack([rows.x[rows.y == label].flatten(1).mean(0) for label in range(3)])
    mean -= mean.mean(0)
    save_file({"1.weight": mean * 10, "1.bias": torch.zeros(3)}, folder / "weights.safetensors")
    source = ModelSource(f"{name}:build", folder / "weights.safetensors", 3, Normalisation((0.5,), (0.25,)))
    return Plan(model=source, method="l2ul", settings=HASTY, budget=90.0)


def make_project(folder: Path) -> Path:
    """Return a project in `folder`/template with its key: one version whose images are kept, two requests that wait."""
    place = folder / "template" / "project"
    create_project(place, make_plan(folder / "inputs"))
    rows = draw_rows()
    with writing(place) as ledger:
        receive(ledger, rows.rows([0]), KEEPING)
        apply_waiting(ledger, Runtime())
        receive(ledger, rows.rows([1]), KEEPING)
        receive(ledger, rows.rows([2]), RequestOptions())
    return place


KEEPING = RequestOptions(keep_until=date(2999, 12, 31), reference="letter 1")


def add(place: Path) -> None:
    """Add a request."""
    with writing(place) as ledger:
        receive(ledger, draw_rows().rows([4]), KEEPING)


def apply(place: Path) -> None:
    """Apply what waits."""
    with writing(place) as ledger:
        apply_waiting(ledger, Runtime())


def go_back(place: Path) -> None:
    """Undo the newest version."""
    with writing(place) as ledger:
        undo(ledger)


def purge(place: Path) -> None:
    """Delete the images of what is verified."""
    with writing(place) as ledger:
        purge_images(ledger, ledger.state.in_state(State.VERIFIED, State.WITHDRAWN))


def forget_versions(place: Path) -> None:
    """Delete the way back."""
    with writing(place) as ledger:
        purge_versions(ledger)


COMMANDS: tuple[Callable[[Path], None], ...] = (add, apply, go_back, purge, forget_versions)


def copy(template: Path, trial: Path) -> Path:
    """Return a fresh copy of a project with its key and what lies beside it."""
    shutil.rmtree(trial, ignore_errors=True)
    shutil.copytree(template.parent, trial)
    return trial / template.name


def fork(action: Callable[[], object], log: Path) -> int:
    """Start a child that runs `action`; its exit code says how it ended, and its traceback goes to `log`."""
    child = os.fork()
    if child:
        return child
    code = 0
    try:
        action()
    except ExpungeError:
        code = REFUSED
    except BaseException:
        code = BROKEN
        with suppress(OSError):
            log.write_text(traceback.format_exc())
    os._exit(code)


def wait(child: int) -> int:
    """Return a child's exit code, or the signal that ended it, negated."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at_line(action: Callable[[], object], last: int) -> Callable[[], int]:
    """Return the action, killed before a line of the package's own; `last` 0 counts the lines and returns them."""

    def run() -> int:
        seen = 0

        def trace(frame, event, _argument):
            nonlocal seen
            if not frame.f_code.co_filename.startswith(OURS):
                return None
            if event == "line":
                seen += 1
                if seen == last:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            action()
        finally:
            sys.settrace(None)
        return seen

    return run


def count_lines(action: Callable[[], object], log: Path) -> int:
    """Return how many lines of the package's own the action runs, in a child."""
    counted = log.with_suffix(".lines")
    code = wait(fork(lambda: counted.write_text(str(kill_at_line(action, 0)())), log))
    assert code == 0, log.read_text() if log.exists() else code
    return int(counted.read_text())


def kill_after(action: Callable[[], object], seconds: float, log: Path) -> int:
    """Run the action in a child that is killed after a while; return how it ended."""
    child = fork(action, log)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return wait(child)
