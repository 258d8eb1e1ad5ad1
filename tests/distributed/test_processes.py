"""Two processes on the CPU give what one gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("worker.py")
ALONE_FIRST = WORKER.with_name("alone_first.py")
SOURCES = Path(__file__).resolve().parents[2] / "src"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
EDITS = ("l2ul", "least-change", "least-change-robust")
TOLERANCES = {torch.float32: (1e-3, 1e-4), torch.float64: (1e-8, 1e-10)}
"""How far weights may differ, relatively and absolutely, in each precision."""


def call(*arguments, timeout=120):
    """Run Python with the package's sources and one thread a process; return what came of it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCES), "EXPUNGE_CACHE": ""}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return the folders of one process, and of two that the first has started."""
    folders = {}
    for devices in (1, 2):
        folders[devices] = tmp_path_factory.mktemp(f"devices{devices}")
        done = call(WORKER, folders[devices], devices)
        assert done.returncode == 0, done.stderr
    return folders


@pytest.mark.parametrize("method", EDITS)
def test_two_processes_forget_the_same_rows_with_the_same_weights(outcomes, method):
    one, two = (json.loads((outcomes[devices] / "said.json").read_text())[method] for devices in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert (two["achieved"], two["reason"], two["steps"]) == (one["achieved"], "goal_reached", one["steps"])
    assert all(one["achieved"])
    assert one["steps"] >= 3
    weights, of_two = (load_file(outcomes[devices] / f"{method}.safetensors") for devices in (1, 2))
    for name, tensor in weights.items():
        relative, absolute = TOLERANCES.get(tensor.dtype, (0, 0))
        torch.testing.assert_close(of_two[name], tensor, rtol=relative, atol=absolute)
    for alone, together in zip(one["losses"], two["losses"], strict=True):
        assert together == pytest.approx(alone, rel=1e-2, abs=1e-4)


def test_others_wait_for_a_first_one_that_works_on_its_own():
    done = call(ALONE_FIRST, 2)
    assert (done.returncode, done.stdout) == (0, "[2.0, 2.0]\n" * 4), done.stderr


def test_the_work_is_divided_and_counted_once(outcomes):
    one, two = (json.loads((outcomes[devices] / "said.json").read_text()) for devices in (1, 2))
    assert two["l2ul"]["gradients"] == one["l2ul"]["gradients"]
    surrogates = 45  # of these every process computes the curvature on its own
    assert two["least-change"]["gradients"] == one["least-change"]["gradients"] + surrogates


def test_only_the_first_process_writes(outcomes):
    assert {path.name for path in outcomes[2].iterdir()} == {
        *(f"{method}-seen-by-{rank}" for method in EDITS for rank in (0, 1)),
        *(f"{method}.safetensors" for method in EDITS),
        "said.json",
    }


def test_a_process_that_dies_ends_the_run_with_a_message_and_the_best_state(tmp_path):
    done = call(*TORCHRUN, WORKER, tmp_path, 2, 15)
    assert done.returncode != 0
    said = json.loads((tmp_path / "said.json").read_text())["l2ul"]
    assert said["reason"] == "interrupted"
    assert said["steps"] >= 1
    [lost] = [note for note in said["notes"] if "is gone" in note]
    assert "the best state" in lost
    assert load_file(tmp_path / "l2ul.safetensors")
