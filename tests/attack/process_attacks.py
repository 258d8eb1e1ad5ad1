"""Attacks on two processes that work on one edit: one is killed, and the other saves what there is and ends soon."""

import json
import math
import os
import random
import select
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch.distributed as dist
from commands import HASTY, MODEL, become, is_whole, make_job, watch
from table import Attack, Tried, Try
from torch import Tensor

from expunge.base.errors import ExpungeWarning
from expunge.compute import distributed
from expunge.compute.callbacks import TracePoint
from expunge.compute.context import Context

SECONDS_TO_END, SECONDS_OF_A_HANG = 30, 100
"""How long the other process may take until it has saved and ended, on cores that are its own; and on busy ones."""
SECONDS_IN_ALL = 300
SECONDS = {"join": 5.0, "meet": 0.05}
"""About how long the second process takes until it has begun, and both until they have formed the group."""
SLOWLY = ["--max-steps", "100", "--set", "descent.learning_rate=1e-9", "--batch-size", "2", "--out", "out"]
TWO = ["run", *MODEL, "--weights", "weights.safetensors", *HASTY, *SLOWLY, "--devices", "2", "--forget-random", "3"]
NOTHING_YET = ("error: `processes`: expected all of them to go on", "error: `--devices`: expected 2 of cpu")
"""What the other one says where there was no step yet that could be saved."""
SAID = (*NOTHING_YET, "all of them to go on", "the first process was killed", "going on alone")


@dataclass(frozen=True, slots=True)
class Kill:
    """Which of two processes is killed, and when.

    Args:
        rank: 0 for the first.
        phase: "join", while the second one starts; "meet", while both form the group; "sum", while both add something
            up; or "touch", at a call of the first one that touches the folder.
        point: seconds after the second one was started, or the first one has met it, or which of the sums or calls.
    """

    rank: int
    phase: str
    point: float


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of two processes.

    Args:
        seconds: from the kill, or else from the start, until both had ended.
        counts: of an undisturbed run: sums and calls, and how many of each came before the edit was saved.
        killed: whether one was killed before both had ended.
        stepped: whether a step had been taken by then.
        said: what both printed.
    """

    seconds: float
    counts: dict[str, int]
    killed: bool
    stepped: bool
    said: str


def run_two(folder: Path, arguments: list[str], kill: Kill | None = None) -> Ended:
    """Run `expunge` in two processes, one of which is killed, and wait until both have ended."""
    reading, writing = os.pipe()
    child, begun, said = os.fork(), time.time(), b""
    if not child:
        os.setsid()
        become(folder, arguments, writing, lambda: _arm(folder, arguments, kill))
    os.close(writing)
    while select.select([reading], [], [], SECONDS_IN_ALL)[0] and (piece := os.read(reading, 65536)):
        said += piece  # until nobody is left who could write
    ended = time.time()
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    notes = {path.name: path.read_text() for path in folder.parent.glob("*.note")}
    since = float(notes.get("killed.note", begun))
    counts = json.loads(notes.get("counts.note", "{}"))
    return Ended(ended - since, counts, "killed.note" in notes, "step.note" in notes, said.decode(errors="replace"))


def _arm(folder: Path, arguments: list[str], kill: Kill | None) -> None:
    """Count in the first process what happens, note that a step was taken, and kill one of the two when it is time."""
    counts, tell, add_up, form = Counter[str](), Context.tell, distributed.Group.sum, dist.init_process_group

    def happen(name: str) -> None:
        counts[name] += 1
        if kill is None:
            if not (folder / "out/result.json").exists():
                counts[f"{name} before"] = counts[name]
            _note(folder, "counts", json.dumps(counts))
        elif (kill.phase, kill.point) == (name, counts[name]):
            _kill(folder, kill)

    def told(self: Context, point: TracePoint) -> None:
        _note(folder, "step", "")
        tell(self, point)

    def summed(self: distributed.Group, tensors: Sequence[Tensor]) -> None:
        happen("sum")
        add_up(self, tensors)

    def formed(*arguments: object, **named: object) -> None:
        if kill is not None and kill.phase == "meet":
            threading.Thread(target=_kill_later, args=(folder, kill), daemon=True).start()
        form(*arguments, **named)  # type: ignore[arg-type]

    warnings.simplefilter("always", ExpungeWarning)  # what the command says
    sys.orig_argv = [sys.executable, "-m", "expunge", *arguments]  # the second process is started with these
    Context.tell, distributed.Group.sum = told, summed  # type: ignore[method-assign]
    dist.init_process_group = formed
    watch(folder, lambda writes: happen("touch"))
    if kill is not None and kill.phase == "join":
        threading.Thread(target=_kill_later, args=(folder, kill), daemon=True).start()


def _note(folder: Path, name: str, text: str) -> None:
    """Write a note beside `folder`, by calls that nobody counts."""
    note = os.open(folder.parent / f"{name}.note", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(note, text.encode())
    os.close(note)


def _kill_later(folder: Path, kill: Kill) -> None:
    while not distributed._started:
        time.sleep(0.01)
    time.sleep(kill.point)
    _kill(folder, kill)


def _kill(folder: Path, kill: Kill) -> None:
    """Kill one of the two; the first, if there is no second yet."""
    _note(folder, "killed", repr(time.time()))
    second = [process.pid for process in distributed._started]
    os.kill(second[0] if kill.rank and second else os.getpid(), signal.SIGKILL)


def _find_fault(folder: Path, ended: Ended) -> str:
    """Return what is wrong after one of the two was killed; nothing if all is as it should be."""
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # processes that want each core
    if ended.seconds > min(SECONDS_TO_END * busy, SECONDS_OF_A_HANG):
        return f"the other one ended after {ended.seconds:.0f} s"
    if is_whole(folder / "out"):
        return ""
    if ended.stepped or (folder / "out/result.json").exists():
        return "no whole result"
    return "" if any(words in ended.said for words in NOTHING_YET) else "nothing was saved, and nothing was said"


def _draw(draw: random.Random, counts: dict[str, int], phases: Sequence[str], *, measuring: bool) -> Kill:
    """Return a random moment of these phases; from the saving of the edit on, if it is to be `measuring`."""
    rank, phase = draw.randrange(2), draw.choice(phases)
    if phase in SECONDS:
        return Kill(rank, phase, draw.uniform(0, SECONDS[phase]))
    return Kill(rank, phase, draw.randint(counts[f"{phase} before"] + 1 if measuring else 1, counts[phase]))


def kill_one(
    folder: Path, *, command: list[str], phases: Sequence[str] = ("sum", "touch"), measuring: bool = False
) -> Try:
    """Kill one of two processes at a random moment of a command."""
    timed = set(phases) <= set(SECONDS)  # then nothing has to be counted first
    counts = {} if timed else run_two(_prepared(folder), command).counts

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        work, kill = _prepared(place), _draw(draw, counts, phases, measuring=measuring)
        ended = run_two(work, command, kill)
        wrong = _find_fault(work, ended) if ended.killed else "it had ended before"
        return Tried(
            found=any(words in ended.said for words in SAID),
            lost=f"{kill}: {wrong}; {ended}" if wrong else "",
            broken=ended.said if "Traceback" in ended.said else "",
            note=f"from the kill to the end: within {10 * math.ceil(ended.seconds / 10)} s",
        )

    return attempt


def _prepared(folder: Path) -> Path:
    place = folder / "work"
    place.mkdir()
    make_job(place)
    return place


NAME = "SIGKILL of one of two: "
ATTACKS = [
    Attack(f"{NAME}start", partial(kill_one, command=TWO, phases=("meet",)), 20, 1, slow=True, cores=2),
    Attack(f"{NAME}run", partial(kill_one, command=TWO, phases=("join", "sum", "touch")), 20, 2, slow=True, cores=2),
    Attack(
        f"{NAME}audit",
        partial(kill_one, command=[*TWO, "--audit", "quick"], measuring=True),
        20,
        1,
        slow=True,
        cores=2,
    ),
]
