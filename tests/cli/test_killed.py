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
PASSES = 500
"""Forward passes of a whole run: of the attack, the edit, and all that is measured after it."""
SECONDS_TO_END = 30

DYING = """
import os, sys, time
from pathlib import Path
import torch
left, whole = [int(sys.argv.pop(1))], torch.nn.BatchNorm1d.forward
def forward(self, x):
    left[0] -= 1
    if left[0] == 0 and os.environ.get("LOCAL_RANK") == "1":
        Path("died").write_text(str(time.time()))
        os.kill(os.getpid(), 9)
    return whole(self, x)
torch.nn.BatchNorm1d.forward = forward
sys.argv[0] = "expunge"
from expunge.cli import main
main()
"""


@pytest.mark.slow
def test_the_other_process_saves_and_ends(job, tmp_path):
    script, drawn = tmp_path / "dying.py", random.Random(0)  # noqa: S311 - moments to die at
    script.write_text(DYING)
    flags = [*job.flags, "--forget-random", "8", "--max-steps", "100", "--set", "descent.learning_rate=1e-9"]
    flags += ["--audit", "quick", "--devices", "2", "--batch-size", "2", "--overwrite", "--out", "out"]
    for passes in (drawn.randint(1, PASSES) for _ in range(KILLS)):
        for name in ("died", "out/result.json"):
            (job.folder / name).unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, script, str(passes), *map(str, flags)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCES)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        ended = time.time()
        if (died := job.folder / "died").exists():
            assert ended - float(died.read_text()) < SECONDS_TO_END, (passes, done.stderr)
            assert "one that is gone" in done.stderr, (passes, done.stderr)
        if done.returncode == 2:  # there was no step yet that could be saved
            assert "error: `processes`: expected all of them to go on" in done.stderr, (passes, done.stderr)
            assert not (job.folder / "out/result.json").exists()
        else:
            assert json.loads((job.folder / "out/result.json").read_text())["method"] == "l2ul", (passes, done.stderr)
            assert load_file(job.folder / "out/model.safetensors")
