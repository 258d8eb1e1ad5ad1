"""Two processes forked from a warm one, which add up; one of them is killed at a point: a JSON line for each try.

    python pair.py POINT:RANK ...

Points: `begin`, `before` the group is formed, `within` its forming, `after` it, `between` sums, `in` a sum, `end`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import torch
import torch.distributed as dist

from expunge.base.errors import ExpungeError
from expunge.compute import distributed

MILLION = 1_000_000
LONGEST = 100
form = dist.init_process_group


class Forked:
    """The second process, in place of a command that is started: it was forked, and waits for its environment."""

    def __init__(self, number, pipe):
        self.number, self._pipe, self._code = number, pipe, None

    def __call__(self, command, env):
        os.write(self._pipe, json.dumps(env).encode())
        os.close(self._pipe)
        return self

    def poll(self):
        if self._code is None:
            number, status = os.waitpid(self.number, os.WNOHANG)
            self._code = status if number else None
        return self._code

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("second", seconds)
            time.sleep(0.01)

    def kill(self):
        os.kill(self.number, signal.SIGKILL)


def become_one(told, point, victim):
    """Be one of two, and tell its rank and the error that it ended with."""
    reading, writing = os.pipe()
    second = os.fork()
    rank = int(not second)
    signal.alarm(LONGEST)
    if rank:
        os.close(writing)
        os.environ.update(json.loads(os.read(reading, MILLION) or "{}"))
    else:
        started = SimpleNamespace(Popen=Forked(second, writing), TimeoutExpired=subprocess.TimeoutExpired)
        distributed.subprocess = started

    def die():
        os.write(told, json.dumps({"killed": time.time()}).encode() + b"\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def pass_by(name):
        if (name, rank) == (point, victim):
            die()

    def within(name):
        if (name, rank) == (point, victim):
            threading.Timer(0.001, die).start()

    def formed(*arguments, **named):
        pass_by("before")
        within("within")
        form(*arguments, **named)
        pass_by("after")

    dist.init_process_group = formed
    error = ""
    try:
        pass_by("begin")
        add_up(pass_by, within)
    except ExpungeError as raised:
        error = type(raised).__name__
    os.write(told, json.dumps({"rank": rank, "error": error}).encode() + b"\n")


def add_up(pass_by, within):
    group = distributed.start_processes("cpu", 2, 1)
    group.sum([torch.ones(3)])
    pass_by("between")
    within("in")
    for _ in range(3):
        group.sum([torch.ones(10 * MILLION)])
    pass_by("end")


def try_one(point, victim):
    """Return what one of two told when the other was killed, and after how many seconds both were gone."""
    reading, writing = os.pipe()
    first = os.fork()
    if not first:
        os.close(reading)
        become_one(writing, point, victim)
        os._exit(0)
    os.close(writing)
    lines = b""
    while piece := os.read(reading, MILLION):  # until both are gone
        lines += piece
    ended = time.time()
    os.close(reading)
    os.waitpid(first, 0)
    told = [json.loads(line) for line in lines.splitlines()]
    [killed] = [each["killed"] for each in told if "killed" in each]
    told = [each for each in told if "killed" not in each]
    return {"point": point, "victim": victim, "seconds": ended - killed, "told": told}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for word in sys.argv[1:]:
        point, victim = word.split(":")
        print(json.dumps(try_one(point, int(victim))), flush=True)
