"""Many requests: list, show, verify and add stay quick and small. EXPUNGE_REQUESTS=100000 measures so many."""

import hashlib
import os
import subprocess
import sys
from dataclasses import asdict
from itertools import count

import pytest

from expunge.requests.chain import make_entries
from expunge.requests.hashes import digest_of
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing
from expunge.requests.state import StoredFile

REQUESTS, PER_VERSION = int(os.environ.get("EXPUNGE_REQUESTS", "10000")), 100
SECONDS = {"list": 2.0, "show": 2.0, "verify": 5.0, "add": 3.0}
MEGABYTES = 500
"""Of `add`, beyond what it takes in an empty project, which is torch's own libraries; so with its seconds."""
FIGURES = {"goal_achieved": 1.0, "goal_achieved_robust": 1.0}
MEASURE = """
import resource, subprocess, sys
before = resource.getrusage(resource.RUSAGE_CHILDREN)
done = subprocess.run([sys.executable, "-m", "expunge", "requests", *sys.argv[1:]], stdout=subprocess.DEVNULL)
after = resource.getrusage(resource.RUSAGE_CHILDREN)
print(done.returncode, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_maxrss / 1024)
"""


def make_events(project, sha256, keys, first):
    """Yield what requests of one row leave in a ledger, and their fingerprints: a version for each hundred."""
    for number in count(first):
        names = [f"R{(number - 1) * PER_VERSION + row + 1:04d}" for row in range(PER_VERSION)]
        for name in names:
            images = asdict(StoredFile(f"images/{name}-0123456789ab.sealed", "0" * 64, 100))
            prints = [(name, 0, keys.seal(hashlib.md5(name.encode()).digest(), name))]  # noqa: S324 - any 16 bytes
            received = {
                "request": name,
                "reference": "",
                "instances": [["a", keys.hash_content(name.encode()), 1, None]],
                "goal": "misclassify",
                "how": {"method": "l2ul", "settings": {}, "strength": "exact", "seed": 0},
                "shape": [3, 6, 5],
                "keep_until": None,
                "images": images,
                "fingerprints": digest_of(prints),
            }
            yield "received", received, prints
            yield "validated", {"request": name, "rows": 1, "right": 1}, []
        content = number.to_bytes(4, "big") * 256
        patch = StoredFile(f"versions/{number:04d}.sealed", hashlib.sha256(content).hexdigest(), len(content))
        (project / patch.path).write_bytes(content)
        drift = {"spent": 0.0, "budget": 2.0, "measured_on": "surrogates", "over_budget": False}
        applied = {"version": number, "parent": number - 1, "base_sha256": sha256, "result_sha256": sha256}
        yield "applied", {**applied, "patch": asdict(patch), "requests": names, "figures": {"drift": drift}}, []
        for name in names:
            yield "verified", {"request": name, "version": number, "figures": FIGURES}, []
            images = asdict(StoredFile(f"images/{name}-0123456789ab.sealed", "0" * 64, 100))
            yield "purged", {"files": [images], "fingerprints": []}, []


@pytest.fixture
def large(project):
    ledger = Ledger.open(project)
    database, keys, last = ledger.database, ledger.keys, ledger.last
    events = make_events(project, ledger.state.weights_sha256, keys, 1)
    for _ in range(REQUESTS // PER_VERSION):
        part = [next(events) for _ in range(4 * PER_VERSION + 1)]
        entries = make_entries(keys.chain, last, [(kind, body) for kind, body, _ in part])
        database.append(entries, [one for _, _, prints in part for one in prints])
        last = entries[-1]
    with writing(project) as ledger:
        assert len(ledger.state.requests) == REQUESTS
    assert Ledger.open(project).covered == 4 * REQUESTS + REQUESTS // PER_VERSION + 1
    return project


def measure(project, *command, environment):
    """Return the processor seconds of a command and the most memory it took, in megabytes."""
    words = [sys.executable, "-c", MEASURE, *command, "--project", project]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    code, seconds, megabytes = done.stdout.split()
    assert int(code) == 0, done.stderr
    return float(seconds), float(megabytes)


@pytest.mark.usefixtures("resource")
def test_many_requests_are_listed_shown_verified_and_added_to_quickly(large, plan, inputs, tmp_path):
    from expunge.requests.create import create_project  # noqa: PLC0415

    paths = os.pathsep.join((str(inputs), *filter(None, [os.environ.get("PYTHONPATH")])))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    add = ("add", "--data", f"npz:{inputs / 'images.npz'}", "--rows", "5")
    create_project(tmp_path / "empty", plan)
    of_torch, least = measure(tmp_path / "empty", *add, environment=environment)
    for command in (("list",), ("show", f"R{REQUESTS}"), ("verify",), add):
        seconds, megabytes = measure(large, *command, environment=environment)
        print(command[0], round(seconds, 2), "s", round(megabytes), "MB", round(megabytes - least), "MB over empty")
        seconds -= of_torch if command is add else 0
        assert seconds < SECONDS[command[0]], (command, seconds)
    assert megabytes - least < MEGABYTES
