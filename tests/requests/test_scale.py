"""Ten thousand requests: list, show and verify each take under two seconds of processor time."""

import hashlib
import os
import resource
import subprocess
import sys
from dataclasses import asdict

import pytest

from expunge.requests.chain import make_entries
from expunge.requests.project import Ledger
from expunge.requests.state import StoredFile

REQUESTS, PER_VERSION = 10_000, 100
SECONDS = 2.0


def write_version(project, number):
    content = number.to_bytes(4, "big") * 256
    path = f"versions/{number:04d}.patch.safetensors"
    (project / path).write_bytes(content)
    return StoredFile(path, hashlib.sha256(content).hexdigest(), len(content))


def make_events(project, sha256):
    """Yield what ten thousand requests of one row, a hundred a version, leave in a ledger."""
    for number in range(1, REQUESTS // PER_VERSION + 1):
        names = [f"R{(number - 1) * PER_VERSION + row + 1:04d}" for row in range(PER_VERSION)]
        for name in names:
            images = asdict(StoredFile(f"images/{name}.sealed", "0" * 64, 100))
            how = {"method": "l2ul", "settings": {}, "strength": "exact", "seed": 0}
            yield (
                "received",
                {
                    "request": name,
                    "reference": "",
                    "instances": [["a", "0" * 64, 1, None]],
                    "goal": "misclassify",
                    "how": how,
                    "shape": [3, 6, 5],
                    "keep_until": None,
                    "images": images,
                },
            )
            yield "validated", {"request": name, "rows": 1, "right": 1}
        drift = {"spent": 0.0, "budget": 2.0, "measured_on": "surrogates", "over_budget": False}
        yield (
            "applied",
            {
                "version": number,
                "parent": number - 1,
                "base_sha256": sha256,
                "result_sha256": sha256,
                "patch": asdict(write_version(project, number)),
                "requests": names,
                "figures": {"drift": drift},
            },
        )
        for name in names:
            yield "verified", {"request": name, "version": number, "figures": {}}
            images = asdict(StoredFile(f"images/{name}.sealed", "0" * 64, 100))
            yield "purged", {"files": [images], "fingerprints": []}


@pytest.fixture
def large(project):
    ledger = Ledger.open(project)
    events = make_events(project, ledger.state.weights_sha256)
    ledger.database.append(make_entries(ledger.keys.chain, ledger.entries[-1], events))
    ledger = Ledger.open(project)
    ledger.note_head()
    assert len(ledger.state.requests) == REQUESTS
    return project


def test_list_show_and_verify_take_under_two_seconds(large):
    for command in (["list"], ["show", f"R{REQUESTS}"], ["verify"]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "expunge", "requests", *command, "--project", large],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(command, round(seconds, 2))
        assert seconds < SECONDS, (command, seconds)
    assert "40101 entries, 102 files, 0 problems" in done.stdout
