"""Attacks on projects of deletion requests: kills, disks that fail, changes behind the ledger's back, two writers."""

import errno
import os
import random
import sqlite3
import time
import warnings
from functools import partial
from pathlib import Path

from ledger_changes import CHANGES, Victim
from ledger_project import (
    COMMANDS,
    REFUSED,
    add,
    apply,
    copy,
    count_lines,
    fork,
    hasten,
    kill_after,
    kill_at_line,
    make_plan,
    make_project,
    wait,
)
from sqlalchemy import event
from table import Attack, Tried, Try

from expunge.base.disk import UNFINISHED
from expunge.base.errors import ExpungeError, ExpungeWarning
from expunge.compute.runtime import Runtime
from expunge.requests.apply import apply_waiting
from expunge.requests.create import create_project
from expunge.requests.database import Database
from expunge.requests.images import load_rows
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing
from expunge.requests.state import State
from expunge.requests.verify import verify_folder, verify_project

SYSTEM_CALLS = ("open", "replace", "fsync", "unlink", "mkdir")
FAULTS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)


def kill_requests(folder: Path) -> Try:
    """Kill commands of a project, at a line or after a while; then read it, verify it, and go on with it."""
    hasten()
    template, log = make_project(folder), folder / "log"
    lines = {one: count_lines(partial(one, copy(template, folder / "trial")), log) for one in COMMANDS}
    entries = len(Ledger.open(template).entries)

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        command, log, trial = COMMANDS[number % len(COMMANDS)], place / "log", copy(template, place / "trial")
        if number % 4:
            code = wait(fork(kill_at_line(partial(command, trial), draw.randint(1, lines[command])), log))
        else:
            code = kill_after(partial(command, trial), draw.uniform(0, 0.3), log)
        went_on = wait(fork(partial(check_after, trial, entries), log)) == 0
        lost = "" if went_on else f"{command.__name__}: {read(log)}"
        return Tried(True, lost, note="killed in time" if code < 0 else "")

    return attempt


def check_after(place: Path, entries: int) -> None:
    """Check that a project is whole, that nothing speaks of tampering, that nothing hidden is left, and go on."""
    found = verify_project(Ledger.open(place))
    assert found.problems == (), f"taken for tampering: {found.problems}"
    with writing(place) as ledger:
        assert ledger.last.number >= entries, "entries were lost"
        assert_whole(ledger)
        apply_waiting(ledger, Runtime())
        assert not ledger.state.in_state(State.VALIDATED, State.APPLIED, State.FAILED), "not continued"
        assert_whole(ledger)
    left = [path.name for path in place.parent.rglob("*") if UNFINISHED.fullmatch(path.name)]
    assert left == [], f"left behind: {left}"


def assert_whole(ledger: Ledger) -> None:
    """Check that nothing is missing or changed, and that images that are needed can be read."""
    found = verify_project(ledger)
    assert found.problems == (), found.problems
    for request in ledger.state.in_state(State.VALIDATED, State.APPLIED):
        load_rows(ledger, request)


def kill_init(folder: Path) -> Try:
    """Kill `init`; then make the project again: nothing of the first try is left, and its key is used."""
    hasten()
    plan = make_plan(folder / "inputs")
    lines = count_lines(partial(create_project, folder / "trial" / "project", plan), folder / "log")

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        project, log = place / "trial" / "project", place / "log"
        project.parent.mkdir()
        wait(fork(kill_at_line(partial(create_project, project, plan), draw.randint(1, lines)), log))
        made = wait(fork(partial(check_made, project, plan), log)) == 0
        return Tried(True, "" if made else read(log))

    return attempt


def check_made(place: Path, plan: object) -> None:
    """Check that the project is there, or can be made now, and that nothing else is."""
    if not (place / "project.toml").exists():
        create_project(place, plan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpungeWarning)
        with writing(place) as ledger:
            assert_whole(ledger)
    left = sorted(path.name for path in place.parent.iterdir())
    assert left == ["project", "project.key", f"project.key.{ledger.entries[0].hash[:16]}.head"], left
    hidden = [path.name for path in place.rglob(".*") if path.name != ".lock"]
    assert hidden == [], hidden


def fail_disks(folder: Path) -> Try:
    """Let one call to the disk or the database fail while a command runs; then go on when the disk works again."""
    hasten()
    template = make_project(folder)
    entries = len(Ledger.open(template).entries)

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        command, log, trial = COMMANDS[number % len(COMMANDS)], place / "log", copy(template, place / "trial")
        call, fault, after = draw.choice((*SYSTEM_CALLS, "database")), draw.choice(FAULTS), draw.randrange(12)
        code = wait(fork(partial(run_failing, partial(command, trial), call, fault, after), log))
        what = f"{command.__name__}, {call} {after}, {errno.errorcode[fault]}"
        broken = "" if code in (0, REFUSED) else f"{what}: {read(log)}"
        went_on = wait(fork(partial(check_after, trial, entries), log)) == 0
        return Tried(code == REFUSED, "" if went_on else f"{what}, afterwards: {read(log)}", broken)

    return attempt


def run_failing(action: object, call: str, fault: int, after: int) -> None:
    """Run the action with the call of this number failing, and those that follow at once."""
    seen = 0

    def fails() -> bool:
        nonlocal seen
        seen += 1
        return after < seen <= after + 3

    if call == "database":
        connect = Database.connect

        def connecting(url: str) -> Database:
            database = connect(url)

            @event.listens_for(database.engine, "do_execute")
            def execute(*_: object) -> None:
                if fails():
                    raise sqlite3.OperationalError("database or disk is full")

            return database

        Database.connect = connecting
    else:
        genuine = getattr(os, call)

        def failing(path: object, *arguments: object, **named: object) -> object:
            ours = call == "fsync" or (isinstance(path, (str, os.PathLike)) and "trial" in str(path))
            if ours and fails():
                raise OSError(fault, os.strerror(fault), str(path))
            return genuine(path, *arguments, **named)

        setattr(os, call, failing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpungeWarning)
        action()


def change_projects(folder: Path) -> Try:
    """Change a project without its key; then list, show, verify and write to it."""
    hasten()
    victim = Victim.make(make_project(folder), folder / "ages")
    names = list(CHANGES)

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        name, trial = names[number % len(names)], copy(victim.newest, place / "trial")
        CHANGES[name](trial, victim, draw)
        said, broken = watch(trial)
        truth = is_true(trial, victim)
        lost = "passed" if not said and not truth else "" if victim.has_all_files(trial) else "files were deleted"
        note = f"{name}, true all the same" if truth and not said else ""
        return Tried(said, f"{name}: {lost}" if lost else "", f"{name}: {broken}" if broken else "", note)

    return attempt


def watch(place: Path) -> tuple[bool, str]:
    """Read, verify and write to a project; return whether a change was named, and a traceback if there was one."""
    said, broken = False, ""
    for action in (read_all, verify, write):
        try:
            with warnings.catch_warnings(record=True) as noted:
                warnings.simplefilter("always", ExpungeWarning)
                said = bool(action(place)) or bool(noted) or said
        except ExpungeError:
            said = True
        except Exception as error:
            broken = f"{action.__name__}: {type(error).__name__}: {error}"
    return said, broken


def read_all(place: Path) -> bool:
    """Read what `list` and `show` print."""
    ledger = Ledger.open(place)
    for request in ledger.state.requests.values():
        ledger.instances(request)
        ledger.history(request)
    return False


def verify(place: Path) -> bool:
    """Return whether `verify` finds something."""
    found = verify_project(Ledger.open(place))
    return bool(found.problems or found.unfinished or found.aside)


def write(place: Path) -> bool:
    """Do what every command does that writes, and purge what is due."""
    with writing(place, wait_seconds=1):
        return False


def is_true(place: Path, victim: Victim) -> bool:
    """Return whether what is shown is what was written."""
    try:
        return Ledger.open(place).state == victim.state
    except ExpungeError:
        return True  # nothing is shown


def two_writers(folder: Path) -> Try:
    """Let two commands work on a project at once, and a reader beside them."""
    hasten()
    template = make_project(folder)
    begun = len(Ledger.open(template).state.requests)

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        log, trial = place / "log", copy(template, place / "trial")
        commands = [add, draw.choice((add, apply)), verify_alone]
        children = []
        for command in commands:
            children.append(fork(partial(command, trial), log))
            time.sleep(draw.uniform(0, 0.05))
        codes = [wait(child) for child in children]
        broken = read(log) if any(code not in (0, REFUSED) for code in codes) else ""
        added = sum(code == 0 and command is add for code, command in zip(codes, commands, strict=True))
        there = len(Ledger.open(trial).state.requests) == begun + added and not verify(trial)
        return Tried(REFUSED in codes, "" if there else f"{added} added, but not there", broken)

    return attempt


def verify_alone(place: Path) -> None:
    """Verify beside writers: nothing may look like tampering."""
    found = verify_folder(place)
    assert found.problems == (), found.problems


def read(log: Path) -> str:
    """Return the last lines of a child's traceback."""
    return " | ".join(log.read_text().strip().splitlines()[-4:]) if log.exists() else "no traceback"


ATTACKS = [
    Attack("SIGKILL: requests", kill_requests, 300, 5),
    Attack("SIGKILL: init", kill_init, 100, 5),
    Attack("disk errors: requests", fail_disks, 250, 10),
    Attack("manipulations of a project", change_projects, 300, 50),
    Attack("two writers: projects", two_writers, 40, 2),
]
