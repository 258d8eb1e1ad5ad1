"""`expunge run --devices 2` does what one process does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

SOURCES = Path(__file__).resolve().parents[2] / "src"
WEIGHTS = {"model.safetensors", "patch.safetensors"}
FILES = {*WEIGHTS, "README.md", "classifier.json", "job.toml", "predictions.csv", "result.json"}


def test_two_processes_write_what_one_writes(expunge, job):
    flags = [*job.flags, "--forget-random", "8", "--max-steps", "40", "--set", "growth=1.3"]
    flags += ["--set", "descent.learning_rate=0.02"]
    alone = expunge(*flags, "--out", "one")
    done = subprocess.run(
        [sys.executable, "-m", "expunge", *flags, "--devices", "2", "--out", "two"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == alone.code, done.stderr
    assert done.stdout.count("saved to two") == 1
    assert {path.name for path in (job.folder / "two").iterdir()} == FILES
    one, two = (json.loads((job.folder / name / "result.json").read_text()) for name in ("one", "two"))
    assert two["goal_achieved"] == one["goal_achieved"]
    assert one["steps"] > 3
    assert load_file(job.folder / "one" / "patch.safetensors")
    assert (two["before"], two["after"], two["steps"]) == (one["before"], one["after"], one["steps"])
    weights, of_two = (load_file(job.folder / name / "model.safetensors") for name in ("one", "two"))
    for name, tensor in weights.items():
        torch.testing.assert_close(of_two[name], tensor, rtol=1e-3, atol=1e-4)
