"""Run the quick tests with every Python and torch of the matrix that is there: `make matrix`.

A Python that this machine lacks is said to be missing. Each pair has an environment of its own under build/matrix,
where the package index is reachable; otherwise that pair is said to be out of reach.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TORCHES = ("2.8.*", "2.11.*", "")
"""The oldest that is supported, one between, and the newest."""
ROOT = Path(__file__).parents[1]
TESTS = ["tests/base", "tests/compute", "tests/task", "tests/methods/test_engine.py", "tests/methods/least_change"]


def find_python(version):
    """Return an interpreter of that version, or None."""
    named = shutil.which(f"python{version}")
    if named and subprocess.run([named, "--version"], capture_output=True, check=False).returncode == 0:
        return named
    found = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    return str(found[-1]) if found else None


def prepare(python, version, torch):
    """Return the interpreter of an environment with that torch, or None where it can't be had."""
    folder = ROOT / "build/matrix" / f"python{version}-torch{torch.rstrip('.*') or 'newest'}"
    inside = folder / "bin/python"
    done = folder / "complete"
    if not done.exists():
        wanted = [f"torch=={torch}" if torch else "torch", "--editable", ".", "pytest", "hypothesis", "pytest-xdist"]
        for command in ([python, "-m", "venv", folder], [inside, "-m", "pip", "install", "--quiet", *wanted]):
            if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode:
                return None
        done.touch()
    return inside


def main(arguments):
    """Try each pair, print a line for it, and return 1 if tests failed."""
    failed = False
    for version in PYTHONS:
        python = find_python(version)
        for torch in TORCHES:
            name = f"Python {version:5s} torch {torch or 'newest':7s}"
            inside = prepare(python, version, torch) if python else None
            if inside is None:
                print(name, "out of reach" if python else "no such Python here", flush=True)
                continue
            started = time.perf_counter()
            command = [inside, "-m", "pytest", "-q", "-m", "not slow and not browser", "-p", "no:cacheprovider"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
            command += arguments or TESTS
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            failed = failed or done.returncode != 0
            last = (done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]])[-1]
            print(name, f"{time.perf_counter() - started:5.0f} s ", last, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
