"""Attacks on output folders: commands that are killed, disks that fail, two commands at once."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from commands import AUDIT, BENCH, DONE, RUN, TRAIN, Ended, Fault, call, count_calls, hidden_in, is_whole, make_job
from commands import start as start_command
from commands import wait as wait_for
from table import Attack, Outcome

Check = Callable[[Path], str]
"""What is wrong with a folder; nothing if it is whole."""


def _prepared(folder: Path, *first: list[str]) -> Path:
    """Return a folder with the small job in it, in which these commands have run."""
    place = folder / "work"
    place.mkdir()
    make_job(place)
    for command in first:
        ended = call(place, command)
        assert ended.code in DONE, ended.said
    return place


def _fresh(begun: Path, number: int) -> Path:
    place = begun.parent / f"try-{number}"
    shutil.copytree(begun, place)
    return place


class _Count:
    """Adds up what came of the tries."""

    def __init__(self) -> None:
        self.tries = self.found = self.lost = self.tracebacks = 0
        self.notes: list[str] = []

    def add(self, what: str, ended: Ended, wrong: str) -> None:
        self.tries += 1
        self.found += ended.code == 2
        self.tracebacks += ended.traceback
        self.lost += bool(wrong)
        if ended.traceback or wrong:
            self.notes.append(f"{what}: {wrong}; exit {ended.code}; {ended.said[-1500:]}")

    def outcome(self) -> Outcome:
        return Outcome(self.tries, self.found, self.lost, self.tracebacks, tuple(self.notes))


def _kill(
    folder: Path, tries: int, begun: Path, command: list[str], check: Check, again: list[str] | None = None
) -> Outcome:
    """Kill `command` at random calls; then the same command (or `again`, where it was done) must go on to the end."""
    calls, draw, count = count_calls(_fresh(begun, -1), command), random.Random(0), _Count()
    for number in range(tries):
        place = _fresh(begun, number)
        point = draw.randint(1, calls)
        killed = call(place, command, Fault("kill", point))
        done_already = check(place) == ""
        ended = call(place, command if again is None or not done_already else again)
        wrong = check(place) if ended.code in DONE else "the next command did not go on"
        left = hidden_in(place)
        wrong = wrong or (f"hidden files {left}" if left else "")
        count.add(f"killed at call {point} of {calls} (exit {killed.code})", ended, wrong)
        shutil.rmtree(place)
    return count.outcome()


def _check_run(place: Path) -> str:
    if not is_whole(place / "edited"):
        return "no whole result"
    return "" if "unmeasured" not in json.loads((place / "edited/result.json").read_text()) else "not measured"


def _check_train(place: Path) -> str:
    if not is_whole(place / "trained", "train.json"):
        return "no whole result"
    left = {path.name for path in (place / "trained").iterdir()} - {"model.safetensors", "train.json"}
    return f"left behind {left}" if left else ""


def _check_audit(place: Path) -> str:
    names = ("audit.json", "rows.csv", "predictions.npz", "report.html")
    missing = [name for name in names if not (place / "edited/audit" / name).is_file()]
    return f"missing {missing}" if missing or not is_whole(place / "edited") else ""


def _check_bench(place: Path) -> str:
    path = place / "results/grid/results.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    cells = [json.loads(line) for line in lines]
    return "" if len(cells) == 2 and all("test" in cell["result"]["after"] for cell in cells) else "cells are missing"


def kill_run(folder: Path, tries: int) -> Outcome:
    """Kill `expunge run`, half of the times while it replaces an older result."""
    out = [*RUN, "--out", "edited"]
    first = _kill(folder, tries // 2, _prepared(folder), out, _check_run, [*out, "--overwrite"])
    other = folder / "other"
    other.mkdir()
    replacing = [*out, "--seed", "1", "--overwrite"]
    second = _kill(other, tries - tries // 2, _prepared(other, out), replacing, _check_run)
    return Outcome(
        first.tries + second.tries,
        first.found + second.found,
        first.lost + second.lost,
        first.tracebacks + second.tracebacks,
        (*first.notes, *second.notes),
    )


def kill_audit(folder: Path, tries: int) -> Outcome:
    """Kill `expunge audit`."""
    return _kill(folder, tries, _prepared(folder, [*RUN, "--out", "edited"]), AUDIT, _check_audit)


def kill_train(folder: Path, tries: int) -> Outcome:
    """Kill `expunge train`."""
    out = [*TRAIN, "--out", "trained"]
    return _kill(folder, tries, _prepared(folder), out, _check_train, [*out, "--overwrite"])


def kill_bench(folder: Path, tries: int) -> Outcome:
    """Kill `expunge bench`."""
    return _kill(folder, tries, _prepared(folder), BENCH, _check_bench)


def _fail(tries: int, begun: Path, command: list[str], check: Check) -> Outcome:
    """Let the disk fail at random calls while `command` replaces a result: there must be a whole one afterwards."""
    calls, draw, count = count_calls(_fresh(begun, -1), command), random.Random(1), _Count()
    for number in range(tries):
        place = _fresh(begun, number)
        kind = ("error", "full", "size")[number % 3]
        fault = Fault(kind, draw.randint(200, 4000) if kind == "size" else draw.randint(1, calls))
        ended = call(place, command, fault)
        wrong = check(place)
        again = call(place, command)
        wrong = wrong or ("" if again.code in DONE else "the next command did not go on")
        left = hidden_in(place)
        count.add(f"{fault}", ended, wrong or (f"hidden files {left}" if left else ""))
        shutil.rmtree(place)
    return count.outcome()


def fail_run(folder: Path, tries: int) -> Outcome:
    """Let the disk fail under `expunge run --overwrite`."""
    out = [*RUN, "--out", "edited"]

    def check(place: Path) -> str:
        return "" if is_whole(place / "edited") else "neither the old nor the new result is whole"

    return _fail(tries, _prepared(folder, out), [*out, "--seed", "1", "--overwrite"], check)


def fail_train(folder: Path, tries: int) -> Outcome:
    """Let the disk fail under `expunge train --overwrite`."""
    out = [*TRAIN, "--out", "trained"]

    def check(place: Path) -> str:
        whole = is_whole(place / "trained", "train.json") or (place / "trained/checkpoint.safetensors").exists()
        return "" if whole else "neither the old nor the new result is whole"

    return _fail(tries, _prepared(folder, out), [*out, "--seed", "1", "--overwrite"], check)


def two_writers(folder: Path, tries: int) -> Outcome:
    """Start the same command twice at once, with another seed: one is refused, or comes after the other."""
    begun, count = _prepared(folder), _Count()
    for number in range(tries):
        place = _fresh(begun, number)
        command, result = (RUN, "result.json") if number % 2 else (TRAIN, "train.json")
        both = [
            [*command, "--out", "out", "--seed", str(seed), *(["--overwrite"] * (number % 4 > 1))] for seed in (0, 1)
        ]
        children = [start_command(place, each) for each in both]
        ended = [wait_for(place, child) for child in children]
        codes = [each.code for each in ended]
        wrong = "" if any(code in DONE for code in codes) else f"neither came to its end: {codes}"
        wrong = wrong or ("" if is_whole(place / "out", result) else "files of two results")
        if not wrong and all(code in DONE for code in codes) and number % 4 < 2:
            wrong = "one result replaced the other"
        count.add(f"{command[0]} twice", max(ended, key=lambda each: each.traceback), wrong)
        shutil.rmtree(place)
    return count.outcome()


ATTACKS = [
    Attack("SIGKILL: run", kill_run, 80, 6),
    Attack("SIGKILL: audit", kill_audit, 40, 3),
    Attack("SIGKILL: train", kill_train, 30, 4),
    Attack("SIGKILL: bench", kill_bench, 10, 2),
    Attack("disk errors: run", fail_run, 30, 6),
    Attack("disk errors: train", fail_train, 30, 3),
    Attack("two writers: folders", two_writers, 40, 4),
]
