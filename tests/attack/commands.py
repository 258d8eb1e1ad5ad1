"""A small job on disk, and commands in children that are killed, or whose disk fails, at a chosen moment."""

import errno
import hashlib
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
import torch._dynamo  # the first optimiser of each child would import it, for seconds
from safetensors.torch import save_file

import expunge.audit.run
import expunge.cli.audit
import expunge.cli.bench
import expunge.cli.run
import expunge.cli.train
import expunge.report  # noqa: F401 - imported once, so that children start at once
from expunge.cli import main

try:
    import resource
except ImportError:  # as on Windows
    CAN_LIMIT_FILES = False
else:
    CAN_LIMIT_FILES = True

NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 3))
"""
MODEL = ["--model", "attacked_nets:build", "--mean", "0.5", "--std", "0.25", "--data", "npz:images.npz"]
HASTY = [
    "--method",
    "l2ul",
    "--set",
    "attack.targets_per_row=1",
    "--set",
    "attack.steps=1",
    "--set",
    "descent.learning_rate=0.03",
    "--device",
    "cpu",
]
RUN = ["run", *MODEL, "--weights", "weights.safetensors", *HASTY, "--forget-random", "3"]
TRAIN = ["train", *MODEL, "--set", "epochs=2", "--device", "cpu"]
AUDIT = ["audit", "edited", "--level", "quick", "--allow-code"]
BENCH = ["bench", "grid.toml", "--runs", "runs", "--results", "results", "--allow-code"]
GRID = """
title = "Attacked"
counts = [2]
seeds = [0, 1]
[job]
device = "cpu"
[job.model]
architecture = "attacked_nets:build"
weights = "weights.safetensors"
mean = [0.5]
std = [0.25]
[job.data]
source = "npz:images.npz"
[[methods]]
label = "l2ul"
method = "l2ul"
[methods.settings.attack]
targets_per_row = 1
steps = 1
"""
DONE = (0, 3, 5)
"""Exit codes of commands that did their work."""
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a child.

    Args:
        kind: "none", "kill", "error" (one call fails), "full" (nothing more can be written) or "size" (files end).
        point: at which call that touches the folder; with "size", how many bytes a file may have.
    """

    kind: str = "none"
    point: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: exit code, minus the signal if one did; what it printed; how often it touched the folder."""

    code: int
    said: str
    calls: int

    @property
    def traceback(self) -> bool:
        """Return whether it ended in a traceback, or in words that nobody can act on."""
        return "Traceback" in self.said or (self.code not in (*DONE, 2, 4) and self.code >= 0)


def make_job(folder: Path) -> None:
    """Write a network, its weights and images to `folder`."""
    draw = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 30), ("test", 12)):
        y = np.arange(count) % 3
        x = draw.integers(0, 90, (count, 6, 5, 3))
        x[np.arange(count), :, :, y] += 120
        arrays |= {f"x_{part}": x.astype(np.uint8), f"y_{part}": y}
    np.savez(folder / "images.npz", **arrays)
    (folder / "attacked_nets.py").write_text(NETWORK)
    (folder / "grid.toml").write_text(GRID)
    weight = torch.zeros(3, 3, 30)
    for label in range(3):
        weight[label, label] = 0.1
    save_file({"1.weight": weight.flatten(1), "1.bias": torch.zeros(3)}, folder / "weights.safetensors")


def start(folder: Path, arguments: list[str], fault: Fault = Fault()) -> int:
    """Start `expunge` with these arguments in a child that works in `folder`, and return its process."""
    child = os.fork()
    if not child:
        output = os.open(folder.parent / f"said-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        become(folder, arguments, output, lambda: _arm(folder, fault))
    return child


def become(folder: Path, arguments: list[str], output: int, arm: Callable[[], None]) -> NoReturn:
    """Be `expunge` with these arguments, in a child that has just been made; what it says goes to `output`."""
    os.chdir(folder)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    torch.set_num_threads(1)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type] - plots take long, and are written like all else
    sys.argv = ["expunge", *arguments]
    code = 1
    try:
        arm()
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(folder: Path, child: int) -> Ended:
    """Wait for a child and return how it ended."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    path = folder.parent / f"said-{child}"
    said = path.read_text(errors="replace")
    path.unlink()
    calls = folder.parent / f"calls-{child}"
    count = int(calls.read_text() or 0) if calls.exists() else 0
    calls.unlink(missing_ok=True)
    return Ended(code, said, count)


def call(folder: Path, arguments: list[str], fault: Fault = Fault()) -> Ended:
    """Run a command to its end."""
    return wait(folder, start(folder, arguments, fault))


def count_calls(folder: Path, arguments: list[str]) -> int:
    """Return how often a command touches the folder when nothing goes wrong."""
    return call(folder, arguments, Fault("count")).calls


def _arm(folder: Path, fault: Fault) -> None:
    """Make the fault happen; every opening, renaming, removing and syncing below `folder` counts as a call."""
    if fault.kind == "none":
        return
    if fault.kind == "size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.point, fault.point))
        return
    counter = os.open(folder.parent / f"calls-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
    seen = 0

    def touch(writes: bool) -> None:
        nonlocal seen
        seen += 1
        if fault.kind == "count":
            os.pwrite(counter, str(seen).encode(), 0)
        elif fault.kind == "kill" and seen == fault.point:
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.kind == "error" and seen == fault.point:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        elif fault.kind == "full" and seen >= fault.point and writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    watch(folder, touch)


def watch(folder: Path, touch: Callable[[bool], None]) -> None:
    """Tell `touch` of every call that touches `folder`, and whether it writes."""
    place, real = str(folder), os.fsync

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            inside = isinstance(path, (str, bytes)) and str(Path(os.fsdecode(path)).absolute()).startswith(place)
            if inside and "__pycache__" not in os.fsdecode(path) and not os.fsdecode(path).endswith(".py"):
                touch(bool(int(flags or 0) & os.O_CREAT))  # type: ignore[call-overload]
        elif event in CHANGES:
            touch(event == "os.mkdir")

    def sync(descriptor: int) -> None:
        touch(True)
        real(descriptor)

    os.fsync = sync
    sys.addaudithook(hook)


def hidden_in(folder: Path) -> list[str]:
    """Return the hidden files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(".*"))


def is_whole(folder: Path, result: str = "result.json") -> bool:
    """Return whether a folder has a result whose hashes are those of its files."""
    with suppress(OSError, ValueError, KeyError):
        files = json.loads((folder / result).read_text())["files"]
        return all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == said for name, said in files.items())
    return False
