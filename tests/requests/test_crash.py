"""Killed at any instant, a project is consistent, and the next command goes on."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from expunge.compute.runtime import Runtime
from expunge.requests.apply import apply_waiting
from expunge.requests.create import create_project
from expunge.requests.receive import receive
from expunge.requests.recovery import writing

POINTS = 50
HASTY = {"growth": 1.5, "attack": {"targets_per_row": 1, "steps": 1}, "descent": {"learning_rate": 0.03}}

KILLER = """
import json, os, random, shutil, signal, sys, time
from functools import partial
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
import expunge.requests as package
from expunge.requests import versions
from expunge.requests.apply import apply_waiting
from expunge.requests.images import load_rows
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo
from expunge.requests.state import State
from expunge.requests.verify import verify_project
from expunge.compute.runtime import Runtime

versions.measure_robust_goal = partial(versions.measure_robust_goal, copies=1)
template, points = Path(sys.argv[1]), int(sys.argv[3])
place = template.parent / "trial"
ours = str(Path(package.__file__).parent)
disk = str(Path(package.__file__).parents[1] / "base" / "disk.py")

def fork(action, *arguments):
    child = os.fork()
    if child == 0:
        try:
            action(*arguments)
            os._exit(0)
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
    return child

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def run(command):
    with writing(place) as ledger:
        undo(ledger) if command == "undo" else apply_waiting(ledger, Runtime())

def traced(command, last):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        if not frame.f_code.co_filename.startswith((ours, disk)):
            return None
        if event == "line":
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    run(command)
    sys.settrace(None)
    if last == 0:
        (template.parent / "lines").write_text(str(seen))

def check(before):
    with writing(place) as ledger:
        state = ledger.state
        assert verify_project(ledger).problems == (), verify_project(ledger).problems
        assert len(ledger.entries) >= before["entries"], "entries were lost"
        assert list(state.requests) == before["requests"], "requests were lost"
        for request in state.in_state(State.VALIDATED, State.APPLIED):
            load_rows(ledger, request)
        named = {version.patch.path for version in state.versions.values()} | {state.first.path}
        assert {f"versions/{path.name}" for path in (place / "versions").iterdir()} == named, "half a version"
        apply_waiting(ledger, Runtime())
        assert not state.in_state(State.VALIDATED, State.APPLIED, State.FAILED), "not continued"
        assert verify_project(ledger).problems == ()

def fresh():
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)

begun = Ledger.open(template)
before = {"entries": len(begun.entries), "requests": list(begun.state.requests)}
lines, seconds = {}, {}
for command in ("apply", "undo"):
    fresh()
    assert wait(fork(traced, command, 0)) == 0
    lines[command] = int((template.parent / "lines").read_text())
    fresh()
    started = time.perf_counter()
    assert wait(fork(run, command)) == 0
    seconds[command] = time.perf_counter() - started

draw = random.Random(0)
killed = {"line": 0, "time": 0}
for point in range(points):
    command = ("apply", "undo")[point % 2]
    fresh()
    if point % 5:
        child, kind = fork(traced, command, draw.randint(1, lines[command])), "line"
    else:
        child, kind = fork(run, command), "time"
        time.sleep(draw.uniform(0, seconds[command]))
        os.kill(child, signal.SIGKILL)
    killed[kind] += wait(child) == -signal.SIGKILL
    assert wait(fork(check, before)) == 0, (point, command, kind)
print(json.dumps(killed))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no fork and no SIGKILL there")
def test_fifty_kills_of_apply_and_undo_leave_a_consistent_project(plan, tmp_path, inputs, rows_of, options):
    project, rows = tmp_path / "project", rows_of(60, seed=0)
    create_project(project, replace(plan, settings=HASTY))
    with writing(project) as ledger:
        receive(ledger, rows.rows([0]), options.keeping)
        apply_waiting(ledger, Runtime())
        receive(ledger, rows.rows([1]), options.keeping)
        receive(ledger, rows.rows([2]), options.plain)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, project, inputs, str(POINTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    killed = json.loads(done.stdout)
    assert killed["line"] >= 0.9 * 0.8 * POINTS
    assert sum(killed.values()) >= 0.8 * POINTS
