"""Attacks on output folders: commands that are killed, disks that fail, two commands at once."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from commands import (
    AUDIT,
    BENCH,
    CAN_LIMIT_FILES,
    DONE,
    RUN,
    TRAIN,
    Ended,
    Fault,
    call,
    count_calls,
    hidden_in,
    is_whole,
    make_job,
)
from commands import start as start_command
from commands import wait as wait_for
from table import Attack, Tried, Try

Check = Callable[[Path], str]
KINDS = ("error", "full", "size")[: 3 if CAN_LIMIT_FILES else 2]
"""What is wrong with a folder; nothing if it is whole."""


def _prepared(folder: Path, *first: list[str]) -> Path:
    """Return a folder with the small job in it, in which these commands have run."""
    place = folder / "work"
    place.mkdir(parents=True)
    make_job(place)
    for command in first:
        ended = call(place, command)
        assert ended.code in DONE, ended.said
    return place


def _fresh(begun: Path, place: Path) -> Path:
    """Return a copy in `place` of the folder that was prepared."""
    return shutil.copytree(begun, place / begun.name)


def _tried(what: str, ended: Ended, wrong: str) -> Tried:
    said = f"{what}: exit {ended.code}; {ended.said[-1500:]}"
    return Tried(ended.code == 2, f"{wrong}: {said}" if wrong else "", said if ended.traceback else "")


def _hidden(place: Path) -> str:
    left = hidden_in(place)
    return f"hidden files {left}" if left else ""


def _kill(begun: Path, command: list[str], check: Check, result: str = "") -> Try:
    """Kill `command` at random calls; then the same command must go on to the end.

    Where `result` is a whole result, the command is told to overwrite it. A finished edit is whole before other images
    are measured on, and no command throws it away unasked.
    """
    calls = count_calls(_fresh(begun, begun.parent / "counted"), command)

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        place, point = _fresh(begun, place), draw.randint(1, calls)
        killed = call(place, command, Fault("kill", point))
        path = place / result
        done = result != "" and is_whole(path.parent, path.name)
        ended = call(place, [*command, "--overwrite"] if done else command)
        wrong = check(place) if ended.code in DONE else "the next command did not go on"
        return _tried(f"killed at call {point} of {calls} (exit {killed.code})", ended, wrong or _hidden(place))

    return attempt


def _check_run(place: Path) -> str:
    if not is_whole(place / "edited"):
        return "no whole result"
    return "" if "unmeasured" not in json.loads((place / "edited/result.json").read_text()) else "not measured"


def _check_train(place: Path) -> str:
    if not is_whole(place / "trained", "train.json"):
        return "no whole result"
    return "left behind a checkpoint" if (place / "trained/checkpoint.safetensors").exists() else ""


def _check_audit(place: Path) -> str:
    names = ("audit.json", "rows.csv", "predictions.npz", "report.html")
    missing = [name for name in names if not (place / "edited/audit" / name).is_file()]
    return f"missing {missing}" if missing or not is_whole(place / "edited") else ""


def _check_bench(place: Path) -> str:
    path = place / "results/grid/results.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    cells = [json.loads(line) for line in lines]
    return "" if len(cells) == 2 and all("test" in cell["result"]["after"] for cell in cells) else "cells are missing"


def kill_run(folder: Path) -> Try:
    """Kill `expunge run`, half of the times while it replaces an older result."""
    out = [*RUN, "--out", "edited"]
    anew = _kill(_prepared(folder / "anew"), out, _check_run, "edited/result.json")
    over = _kill(_prepared(folder / "over", out), [*out, "--seed", "1", "--overwrite"], _check_run)
    return lambda place, draw, number: (over if number % 2 else anew)(place, draw, number)


def kill_audit(folder: Path) -> Try:
    """Kill `expunge audit`."""
    return _kill(_prepared(folder, [*RUN, "--out", "edited"]), AUDIT, _check_audit)


def kill_train(folder: Path) -> Try:
    """Kill `expunge train`."""
    out = [*TRAIN, "--out", "trained"]
    return _kill(_prepared(folder), out, _check_train, "trained/train.json")


def kill_bench(folder: Path) -> Try:
    """Kill `expunge bench`."""
    return _kill(_prepared(folder), BENCH, _check_bench)


def _fail(begun: Path, command: list[str], check: Check) -> Try:
    """Let the disk fail at random calls while `command` replaces a result: there must be a whole one afterwards."""
    calls = count_calls(_fresh(begun, begun.parent / "counted"), command)

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        place, kind = _fresh(begun, place), KINDS[number % len(KINDS)]
        fault = Fault(kind, draw.randint(200, 4000) if kind == "size" else draw.randint(1, calls))
        ended = call(place, command, fault)
        wrong = check(place)
        again = call(place, command)
        wrong = wrong or ("" if again.code in DONE else "the next command did not go on")
        return _tried(f"{fault}", ended, wrong or _hidden(place))

    return attempt


def fail_run(folder: Path) -> Try:
    """Let the disk fail under `expunge run --overwrite`."""
    out = [*RUN, "--out", "edited"]

    def check(place: Path) -> str:
        return "" if is_whole(place / "edited") else "neither the old nor the new result is whole"

    return _fail(_prepared(folder, out), [*out, "--seed", "1", "--overwrite"], check)


def fail_train(folder: Path) -> Try:
    """Let the disk fail under `expunge train --overwrite`."""
    out = [*TRAIN, "--out", "trained"]

    def check(place: Path) -> str:
        whole = is_whole(place / "trained", "train.json") or (place / "trained/checkpoint.safetensors").exists()
        return "" if whole else "neither the old nor the new result is whole"

    return _fail(_prepared(folder, out), [*out, "--seed", "1", "--overwrite"], check)


def two_writers(folder: Path) -> Try:
    """Start the same command twice at once, with another seed: one is refused, or comes after the other."""
    begun = _prepared(folder)

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        place, overwrite = _fresh(begun, place), ["--overwrite"] * (number % 4 > 1)
        command, result = (RUN, "result.json") if number % 2 else (TRAIN, "train.json")
        both = [[*command, "--out", "out", "--seed", str(seed), *overwrite] for seed in (0, 1)]
        children = [start_command(place, each) for each in both]
        ended = [wait_for(place, child) for child in children]
        codes = [each.code for each in ended]
        wrong = "" if any(code in DONE for code in codes) else f"neither came to its end: {codes}"
        wrong = wrong or ("" if is_whole(place / "out", result) else "files of two results")
        if not wrong and all(code in DONE for code in codes) and not overwrite:
            wrong = "one result replaced the other"
        said = max(ended, key=lambda each: (each.traceback, each.code == 2))
        return _tried(f"{command[0]} twice", said, wrong or _hidden(place))

    return attempt


ATTACKS = [
    Attack("SIGKILL: run", kill_run, 80, 6),
    Attack("SIGKILL: audit", kill_audit, 40, 3),
    Attack("SIGKILL: train", kill_train, 30, 4),
    Attack("SIGKILL: bench", kill_bench, 10, 2),
    Attack("disk errors: run", fail_run, 30, 6),
    Attack("disk errors: train", fail_train, 30, 3),
    Attack("two writers: folders", two_writers, 40, 4),
]
