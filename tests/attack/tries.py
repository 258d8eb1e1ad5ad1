"""Making tries: here, or each in a child of one warm process, as many at once as there are cores."""

import json
import os
import random
import shutil
import signal
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from table import Attack, Tried, Try

MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder is made in it
ENOUGH = 1 << 30
LONGEST = 300
"""Seconds after which a try counts as hanging."""


@contextmanager
def fast_folder() -> Iterator[Path]:
    """Give an empty folder, in memory where the system has room: a killed process needs no disk that syncs."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH
    with tempfile.TemporaryDirectory(dir=MEMORY if has_room else None) as folder:
        yield Path(folder)


def make_tries(attack: Attack, folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, Tried]]:
    """Make tries of these numbers one after another, in this process."""
    attempt = _begin(attack, folder)
    for number in numbers:
        yield number, _make(attack, attempt, folder, number)


def make_tries_at_once(attack: Attack, folder: Path, numbers: Sequence[int], cores: int) -> Iterator[tuple[int, Tried]]:
    """Make tries of these numbers in children: whatever becomes of one, the others are as they were."""
    if not numbers:
        return
    attempt, waiting, running = _begin(attack, folder), list(numbers), dict[int, list[int]]()
    while waiting or running:
        while waiting and len(running) < max(1, cores // attack.cores):
            taken, waiting = waiting[: attack.together], waiting[attack.together :]
            running[_start(attack, attempt, folder, taken)] = taken
        child, status = os.waitpid(-1, 0)
        taken = running.pop(child, [])
        made = _read(folder / f"{child}.jsonl")
        yield from made.items()
        missing = [number for number in taken if number not in made]
        if missing:
            yield missing[0], Tried(broken=f"ended with {os.waitstatus_to_exitcode(status)}")
            waiting = missing[1:] + waiting


def _begin(attack: Attack, folder: Path) -> Try:
    begun = folder / "begun"
    begun.mkdir()
    return attack.begin(begun)


def _make(attack: Attack, attempt: Try, folder: Path, number: int) -> Tried:
    place = folder / str(number)
    place.mkdir()
    try:
        return attempt(place, random.Random(f"{attack.name} {number}"), number)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _start(attack: Attack, attempt: Try, folder: Path, numbers: Sequence[int]) -> int:
    child = os.fork()
    if child:
        return child
    with (folder / f"{os.getpid()}.jsonl").open("w") as stream:
        for number in numbers:
            signal.alarm(LONGEST)
            try:
                tried = _make(attack, attempt, folder, number)
            except BaseException:
                tried = Tried(broken=traceback.format_exc())
            stream.write(json.dumps({"number": number, **asdict(tried)}) + "\n")
            stream.flush()
    os._exit(0)


def _read(path: Path) -> dict[int, Tried]:
    """Return what a child wrote, by number; a try that it wrote nothing of crashed, or hung."""
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return {found.pop("number"): Tried(**found) for found in map(json.loads, lines)}
