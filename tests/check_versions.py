"""Run tests with every Python and torch of the matrix that is there: `make matrix`.

    python tests/check_versions.py                       quick tests, each Python with each torch
    python tests/check_versions.py tests/base            these tests
    python tests/check_versions.py --python 3.11 --torch 2.8 --full --without-resource

A Python that this machine lacks is said to be missing. Each pair has an environment of its own under build/matrix,
where the package index is reachable; otherwise that pair is said to be out of reach. `--once` removes it afterwards.
The other packages are those of constraints.txt. With `--full` it is the whole suite.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TORCHES = ("2.8", "2.11", "newest")
"""The oldest that is supported, one between, and the newest."""
ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build/matrix"
QUICK = ["-m", "not slow and not browser"]
TESTS = ["tests/base", "tests/compute", "tests/task", "tests/methods/test_engine.py", "tests/methods/least_change"]
WITHOUT_RESOURCE = """
import builtins

find = builtins.__import__


def look(name, globals=None, *others, **named):
    place = str((globals or {}).get("__file__", ""))
    if name == "resource" and ("site-packages" not in place or "_pytest" in place):
        raise ModuleNotFoundError("No module named 'resource'", name=name)
    return find(name, globals, *others, **named)


builtins.__import__ = look
"""
"""What Python runs at its start: the package, its tests and their processes lack the module then, as on Windows.

Other packages have it: on Linux they rely on it.
"""
OF_TORCH = ("torch", "triton", "nvidia", "cuda")


def find_python(version):
    """Return an interpreter of that version, or None."""
    named = shutil.which(f"python{version}")
    if named and subprocess.run([named, "--version"], capture_output=True, check=False).returncode == 0:
        return named
    found = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    return str(found[-1]) if found else None


def write_constraints():
    """Write the versions of constraints.txt, but for torch and what comes with it, and return their file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    path = FOLDER / "constraints.txt"
    path.write_text("\n".join(line for line in lines if not line.startswith(OF_TORCH)) + "\n", "utf-8")
    return path


def prepare(python, folder, torch):
    """Return the interpreter of an environment with that torch, or None where it can't be had."""
    inside, done = folder / "bin/python", folder / "complete"
    if not done.exists():
        wanted = "torch" if torch == "newest" else f"torch=={torch}.*"
        install = [inside, "-m", "pip", "install", "--quiet", "--constraint", write_constraints()]
        for command in (
            [python, "-m", "venv", folder],
            [*install, wanted, "torchvision"],  # first: of its extras, some would take another torch
            [*install, wanted, "--editable", ".[models,dev,docs]"],
        ):
            if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode:
                return None
        done.touch()
    return inside


def run_tests(inside, options):
    """Run the tests and return their exit code and last line."""
    paths = [ROOT / "src"]
    if options.without_resource:
        paths.insert(0, FOLDER / "without_resource")
        paths[0].mkdir(parents=True, exist_ok=True)
        (paths[0] / "sitecustomize.py").write_text(WITHOUT_RESOURCE, "utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    chosen = [] if options.full else [*QUICK, *(options.tests or TESTS)]
    command = [inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(options.processes), *chosen]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, "\n".join([lines[-1], *failed])


def main(arguments):
    """Try each pair, print a line for it and each test that failed, and return 1 if any did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", help="in place of the quick ones")
    parser.add_argument("--python", nargs="+", default=PYTHONS, help="versions of Python")
    parser.add_argument("--torch", nargs="+", default=TORCHES, help="versions of torch, or newest")
    parser.add_argument("--full", action="store_true", help="the whole suite")
    parser.add_argument("--without-resource", action="store_true", help="as where the module resource is missing")
    parser.add_argument("--processes", type=int, default=0, help="that share the tests; 0: this one alone")
    parser.add_argument("--once", action="store_true", help="remove each environment afterwards: it takes gigabytes")
    options = parser.parse_args(arguments)
    failed = False
    for version in options.python:
        python = find_python(version)
        for torch in options.torch:
            name, folder = f"Python {version:5s} torch {torch:7s}", FOLDER / f"python{version}-torch{torch}"
            inside = prepare(python, folder, torch) if python else None
            if inside is None:
                print(name, "out of reach" if python else "no such Python here", flush=True)
                continue
            started = time.perf_counter()
            code, said = run_tests(inside, options)
            failed = failed or code != 0
            print(name, f"{time.perf_counter() - started:5.0f} s ", said, flush=True)
            if options.once:
                shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
