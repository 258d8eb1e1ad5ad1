"""Attacks on projects of deletion requests: kills, disks that fail, changes behind the ledger's back, two writers."""

import errno
import os
import random
import shutil
import sqlite3
import time
import warnings
from collections import Counter
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
from table import Attack, Outcome

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


def kill_requests(folder: Path, tries: int) -> Outcome:
    """Kill commands of a project, at a line or after a while; then read it, verify it, and go on with it."""
    hasten()
    template, log = make_project(folder), folder / "log"
    draw, notes = random.Random(0), []
    lines = {one: count_lines(partial(one, copy(template, folder / "trial")), log) for one in COMMANDS}
    found = killed = 0
    for number in range(tries):
        command, place = COMMANDS[number % len(COMMANDS)], copy(template, folder / "trial")
        begun = len(Ledger.open(place).entries)
        if number % 4:
            code = wait(fork(kill_at_line(partial(command, place), draw.randint(1, lines[command])), log))
        else:
            code = kill_after(partial(command, place), draw.uniform(0, 0.3), log)
        killed += code < 0
        if wait(fork(partial(check_after, place, begun), log)) != 0:
            notes.append(f"{command.__name__} {number}: {read(log)}")
        found += 1
    return Outcome(tries, found, len(notes), 0, (*notes, f"{killed} of {tries} were killed in time"))


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


def kill_init(folder: Path, tries: int) -> Outcome:
    """Kill `init`; then make the project again: nothing of the first try is left, and its key is used."""
    hasten()
    plan, log, draw = make_plan(folder / "inputs"), folder / "log", random.Random(0)
    trial = folder / "trial"
    place, notes = trial / "project", []
    shutil.rmtree(trial, ignore_errors=True)
    lines = count_lines(partial(create_project, place, plan), log)
    for number in range(tries):
        shutil.rmtree(trial)
        trial.mkdir()
        wait(fork(kill_at_line(partial(create_project, place, plan), draw.randint(1, lines)), log))
        if wait(fork(partial(check_made, place, plan), log)) != 0:
            notes.append(f"{number}: {read(log)}")
    return Outcome(tries, tries, len(notes), 0, tuple(notes))


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


def fail_disks(folder: Path, tries: int) -> Outcome:
    """Let one call to the disk or the database fail while a command runs; then go on when the disk works again."""
    hasten()
    template, log = make_project(folder), folder / "log"
    draw, notes, found, tracebacks = random.Random(1), [], 0, 0
    for number in range(tries):
        command, place = COMMANDS[number % len(COMMANDS)], copy(template, folder / "trial")
        begun = len(Ledger.open(place).entries)
        call = draw.choice((*SYSTEM_CALLS, "database"))
        fault, after = draw.choice(FAULTS), draw.randrange(12)
        code = wait(fork(partial(run_failing, partial(command, place), call, fault, after), log))
        found += code == REFUSED
        if code not in (0, REFUSED):
            tracebacks += 1
            notes.append(f"{command.__name__}, {call} {after}, {errno.errorcode[fault]}: {read(log)}")
        if wait(fork(partial(check_after, place, begun), log)) != 0:
            notes.append(f"{command.__name__}, {call} {after}, {errno.errorcode[fault]}, afterwards: {read(log)}")
    return Outcome(tries, found, len(notes) - tracebacks, tracebacks, tuple(notes))


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


def change_projects(folder: Path, tries: int) -> Outcome:
    """Change a project without its key; then list, show, verify and write to it."""
    hasten()
    victim = Victim.make(make_project(folder), folder / "ages")
    draw, found, lost, tracebacks, notes, unsaid = random.Random(2), 0, 0, 0, [], Counter()
    names = list(CHANGES)
    for number in range(tries):
        name = names[number % len(names)]
        place = copy(victim.newest, folder / "trial")
        CHANGES[name](place, victim, draw)
        said, broken = watch(place)
        truth = is_true(place, victim)
        found += said
        if broken:
            tracebacks += 1
            notes.append(f"{name} {number}: {broken}")
        if not said and truth:
            unsaid[name] += 1
        if not said and not truth:
            lost += 1
            notes.append(f"{name} {number}: passed")
        if not victim.has_all_files(place):
            lost += 1
            notes.append(f"{name} {number}: files were deleted")
    return Outcome(tries, found, lost, tracebacks, (*notes, f"true all the same: {dict(unsaid)}"))


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


def two_writers(folder: Path, tries: int) -> Outcome:
    """Let two commands work on a project at once, and a reader beside them."""
    hasten()
    template, log = make_project(folder), folder / "log"
    draw, notes, found, tracebacks = random.Random(3), [], 0, 0
    for number in range(tries):
        place = copy(template, folder / "trial")
        begun = len(Ledger.open(place).state.requests)
        commands = [add, draw.choice((add, apply)), verify_alone]
        children = []
        for command in commands:
            children.append(fork(partial(command, place), log))
            time.sleep(draw.uniform(0, 0.05))
        codes = [wait(child) for child in children]
        found += codes.count(REFUSED)
        if any(code not in (0, REFUSED) for code in codes):
            tracebacks += 1
            notes.append(f"{number}: {read(log)}")
        added = sum(code == 0 and command is add for code, command in zip(codes, commands, strict=True))
        if len(Ledger.open(place).state.requests) != begun + added or verify(place):
            notes.append(f"{number}: {added} added, but not there")
    return Outcome(tries, found, len(notes) - tracebacks, tracebacks, tuple(notes))


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
    Attack("two writers: projects", two_writers, 20, 2),
]
