"""Every command on a device that is not there, without double precision (see samples/pretended.py)."""

import csv
import json
import warnings

import pytest
from pretended import NAME, pretend
from small_job import QUICK_FLAGS

from expunge.task.outcome import Health


@pytest.fixture(params=[None, 8], ids=["memory for all", "memory for 8 images"])
def device(request):
    """Have the device for one test, with memory for all images or for a few."""
    with pretend(float64=False, largest_batch=request.param) as made, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "out of memory")
        yield made


def on_device(flags):
    """Return the flags with the device in place of the CPU, and steps few enough for a test."""
    return [NAME if flag == "cpu" else flag for flag in flags]


def write_result(folder):
    return json.loads((folder / "result.json").read_text())


def test_run_with_a_full_audit(device, expunge, job):
    flags = [*on_device(job.flags), "--forget-random", 4, "--max-steps", 3, "--retain-rows", 20, "--test-rows", 20]
    done = expunge(*flags, "--audit", "full", "--out", "out")
    assert done.code in (0, 3), done.err
    result = write_result(job.folder / "out")
    assert result["device"] == f"{NAME}:0"
    assert (job.folder / "out/audit").is_dir()
    if device.largest_batch:
        assert result["cost"]["batch_size"] <= device.largest_batch
        assert device.refused.total() < 60


def test_audit_of_a_run(device, expunge, job):
    flags = [*on_device(job.flags), "--forget-random", 4, "--max-steps", 3, "--retain-rows", 20, "--test-rows", 20]
    expunge(*flags, "--out", "out")
    done = expunge("audit", "out", "--level", "quick", "--device", NAME, "--allow-code")
    assert done.code == 0, done.err


def test_train(device, expunge, job):
    source = [*job.flags[1:3], *job.flags[5 : job.flags.index("--method")]]
    quick = ["--recipe", "digits", "--set", "epochs=2", "--set", "batch_size=16"]
    done = expunge("train", *source, *quick, "--device", NAME, "--out", "trained")
    assert done.code == 0, done.err
    assert (job.folder / "trained/model.safetensors").exists()


def test_requests(device, expunge, job, monkeypatch):
    monkeypatch.setattr(Health, "ruined", False)  # so small a classifier is, by most edits
    source = job.flags[1 : job.flags.index("--method")]
    quick = ["--method", "l2ul", *QUICK_FLAGS, "--budget", "90"]
    assert expunge("requests", "init", "project", *source, *quick).code == 0
    monkeypatch.setenv("EXPUNGE_PROJECT", "project")
    expunge("requests", "add", "--data", "npz:images.npz", "--rows", "0-2", "--keep-until", "2999-01-01")
    done = expunge("requests", "apply", "--device", NAME)
    assert "version 1: R0001 forgotten" in done.out, done.err
    assert "0 problems" in expunge("requests", "verify").out


def test_tune(device, expunge, job):
    source = job.flags[1 : job.flags.index("--method")]
    small = ["--forget-rows", 3, "--retain-rows", 20, "--test-rows", 20, "--set", "descent.passes=2", "--trials", 2]
    done = expunge("tune", "negative-gradient", *source, *small, "--device", NAME, "--out", "tuned")
    assert done.code == 0, done.err
    assert len(list(csv.DictReader((job.folder / "tuned/trials.csv").read_text().splitlines()))) == 2
