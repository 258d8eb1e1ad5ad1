"""One of two processes is killed at random moments: the other one saves what there is, and ends soon."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

SOURCES = Path(__file__).resolve().parents[2] / "src"
KILLS = int(os.environ.get("EXPUNGE_KILLS", "2"))
"""Make it 20 to be sure of it."""
SECONDS_TO_END = 30

DIE = """
import os, sys, threading
seconds = float(sys.argv.pop(1))
if os.environ.get("LOCAL_RANK") == "1":
    threading.Timer(seconds, lambda: os.kill(os.getpid(), 9)).start()
sys.argv[0] = "expunge"
from expunge.cli import main
main()
"""


@pytest.mark.slow
def test_the_other_process_saves_and_ends(job, tmp_path):
    script = tmp_path / "dying.py"
    script.write_text(DIE)
    flags = [*job.flags, "--forget-random", "8", "--max-steps", "100000", "--set", "descent.learning_rate=1e-9"]
    flags += ["--audit", "quick", "--devices", "2", "--max-seconds", "12", "--overwrite", "--out", "out"]
    drawn = random.Random(0)  # noqa: S311 - moments to kill at
    for _ in range(KILLS):
        seconds = drawn.uniform(3, 20)
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, script, f"{seconds:.2f}", *map(str, flags)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCES)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        ended = time.monotonic() - started
        assert ended < max(seconds, 12) + SECONDS_TO_END, done.stderr
        lost = "is gone" in done.stderr or "ended before" in done.stderr
        if not lost or "best state" in done.stderr or "going on alone" in done.stderr:
            assert json.loads((job.folder / "out/result.json").read_text())["method"] == "l2ul", done.stderr
            assert load_file(job.folder / "out/model.safetensors")
        else:
            assert done.returncode == 2, done.stderr  # there was nothing yet that could be saved
            assert "all of them to go on" in done.stderr or "ended before it had begun" in done.stderr
