import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors import safe_open

TRAIN = ["train", "--model", "tiny_networks:build", "--mean", "0.5", "--std", "0.25", "--data", "npz:images.npz"]
QUICK = ["--recipe", "digits", "--set", "epochs=4", "--set", "batch_size=16", "--device", "cpu", "--out", "trained"]


def test_a_trained_classifier_is_what_run_takes(job, expunge):
    said = expunge(*TRAIN, *QUICK)
    assert said.code == 0, said.err
    assert "test: 100.00% of 30" in said.out
    result = json.loads((job.folder / "trained" / "train.json").read_text())
    assert result["job"]["model"]["num_classes"] == 3
    assert result["cost"]["gradient_evaluations"] == 4 * result["train_rows"]
    assert result["cost"]["seconds_by_phase"]["train"] > 0
    assert sorted(path.name for path in (job.folder / "trained").iterdir()) == ["model.safetensors", "train.json"]
    with safe_open(job.folder / "trained" / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "tiny_networks:build"
    assert json.loads(metadata["mean"]) == [0.5]
    assert json.loads(metadata["recipe"])["epochs"] == 4
    flags = [flag if flag != "weights.safetensors" else "trained/model.safetensors" for flag in job.flags]
    edited = expunge(*flags, "--forget-random", 4, "--out", "edited")
    assert edited.reached, edited.err
    assert json.loads((job.folder / "edited" / "result.json").read_text())["before"]["test"]["accuracy"] == 100


def test_rows_that_a_run_forgot_are_left_out(job, expunge):
    assert expunge(*job.flags, "--forget-indices", "3,17,40", "--out", "edited").reached
    said = expunge(*TRAIN, *QUICK, "--leave-out-run", "edited", "--train-rows", 50)
    assert said.code == 0, said.err
    result = json.loads((job.folder / "trained" / "train.json").read_text())
    assert result["left_out"] == ["3", "17", "40"]
    assert result["accuracy"]["left_out"]["n"] == 3
    assert 47 <= result["train_rows"] <= 50


def test_rows_are_drawn_before_some_are_left_out(job, expunge):
    """So that a base classifier and its retrained reference differ in the rows left out, and in nothing else."""
    drawn = torch.randperm(60, generator=torch.Generator().manual_seed(0))[:20].tolist()
    left_out = ",".join(map(str, drawn[:8]))
    said = expunge(*TRAIN, *QUICK, "--train-rows", 20, "--leave-out-rows", left_out)
    assert said.code == 0, said.err
    assert json.loads((job.folder / "trained" / "train.json").read_text())["train_rows"] == 12


def test_nothing_left_to_train_on(job, expunge):
    assert "at least one image to train on" in expunge(*TRAIN, *QUICK, "--leave-out-rows", "0-59").err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--set", "epoch=3"], "`--set epoch`: expected one of epochs"),
        (["--set", "epochs"], "`--set`: expected NAME=VALUE, got epochs"),
        (["--num-classes", "2"], "the classifier's classes, got 2"),
        (["--leave-out-rows", "3", "--leave-out-run", "x"], "`--leave-out`: expected at most one"),
        (["--leave-out-rows", "60"], "`indices`: expected numbers in 0..59, got 60"),
        (
            ["--leave-out-run", "nowhere"],
            "`nowhere`: expected the folder of an `expunge run`, got one without predictions.csv",
        ),
        (["--train-rows", "61"], "`--train-rows`: expected 1..60, the number of training images, got 61"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(job, expunge, flags, words):
    said = expunge(*TRAIN, *QUICK, *flags)
    assert said.code == 2
    assert words in said.err.replace("\n", " ")
    assert not any((job.folder / "trained").iterdir()) if (job.folder / "trained").exists() else True


def test_a_finished_training_is_not_overwritten_unasked(job, expunge):
    assert expunge(*TRAIN, *QUICK).code == 0
    assert "say --overwrite" in expunge(*TRAIN, *QUICK).err
    assert expunge(*TRAIN, *QUICK, "--overwrite").code == 0


def test_killed_in_the_middle_it_goes_on_to_the_same_weights(job, expunge):
    def hash_of(folder):
        return json.loads((job.folder / folder / "train.json").read_text())["weights_sha256"]

    flags = [*TRAIN, *QUICK, "--set", "epochs=80", "--set", "batch_size=4", "--seed", "7"]
    process = subprocess.Popen([sys.executable, "-m", "expunge", *flags], stderr=subprocess.DEVNULL)
    checkpoint = job.folder / "trained" / "checkpoint.safetensors"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (job.folder / "trained" / "train.json").exists()
    assert expunge(*flags).code == 0
    flags[flags.index("trained")] = "whole"
    assert expunge(*flags).code == 0
    assert hash_of("trained") == hash_of("whole")
