import csv
import json
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from expunge.compute import callbacks

WEIGHTS = {"model.safetensors", "patch.safetensors"}
FILES = {*WEIGHTS, "README.md", "classifier.json", "job.toml", "predictions.csv", "result.json"}


def read(folder):
    return json.loads((folder / "result.json").read_text())


def read_predictions(folder):
    return list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))


def test_run_reaches_the_goal_and_writes_every_file(expunge, job):
    done = expunge(*job.flags, "--forget-random", 4, "--out", "edited")
    assert done.reached, done.err
    assert {path.name for path in (job.folder / "edited").iterdir()} == FILES
    result = read(job.folder / "edited")
    assert result["goal_achieved"] == 1.0
    assert result["stop_reason"] == "goal_reached"
    assert result["before"]["forget"] == {"accuracy": 100.0, "n": 4}
    assert result["after"]["forget"]["accuracy"] == 0.0
    assert result["before"]["retain"]["n"] == 56
    assert result["before"]["test"]["n"] == 30
    assert result["measured_only"] == ["retain", "test"]
    assert result["retain_used"] is False
    assert result["cost"]["gradient_evaluations"] > 0
    assert "forget" in done.out
    assert "0.0" in done.out


def test_a_method_that_needs_retain_data_gets_them_and_the_result_says_so(expunge, job):
    training = ["--set", "training.epochs=2", "--set", "training.learning_rate=1e-4"]
    done = expunge(*job.plain, "--method", "fine-tune", *training, "--forget-random", 4, "--out", "edited")
    assert done.code == 3, done.err
    result = read(job.folder / "edited")
    assert result["stop_reason"] == "completed"
    assert result["measured_only"] == ["test"]
    assert result["retain_used"] is True
    assert result["cost"]["gradient_evaluations"] == 2 * 56
    assert "retain data were used by the method" in done.out
    assert "the method has run its course" in done.out


def test_edited_weights_load_into_the_same_architecture(expunge, job):
    expunge(*job.flags, "--forget-random", 4, "--out", "edited")
    before, after = load_file("weights.safetensors"), load_file("edited/model.safetensors")
    patch = load_file("edited/patch.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        torch.testing.assert_close(before[name] + patch.get(name, 0), tensor)


def test_same_seed_gives_equal_weights_bit_for_bit(expunge, job):
    for folder in ("first", "second"):
        expunge(*job.flags, "--forget-random", 4, "--seed", 3, "--out", folder)
    first, second = (load_file(f"{folder}/model.safetensors") for folder in ("first", "second"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert read(job.folder / "first")["inputs"] == read(job.folder / "second")["inputs"]


def test_job_file_repeats_the_run(expunge, job):
    expunge(*job.flags, "--forget-indices", "3,7-8", "--out", "first")
    again = expunge("run", "--allow-code", "--config", "first/job.toml", "--out", "second")
    assert again.reached, again.err
    assert read(job.folder / "first")["inputs"] == read(job.folder / "second")["inputs"]
    assert (job.folder / "first/job.toml").read_text() == (job.folder / "second/job.toml").read_text()


@pytest.mark.filterwarnings("always::expunge.base.errors.ExpungeWarning")
def test_forget_rows_is_read_as_forget_indices_with_a_note(expunge, job):
    old = expunge(*job.flags, "--forget-rows", "3,7-8", "--out", "old")
    assert old.reached, old.err
    assert "`forget.rows` is called `forget.indices` now" in old.err
    (job.folder / "old.toml").write_text((job.folder / "old/job.toml").read_text().replace("indices =", "rows ="))
    file = expunge("run", "--allow-code", "--config", "old.toml", "--out", "file")
    assert "`forget.rows` is called `forget.indices` now" in file.err
    chosen = [[row["id"] for row in read_predictions(job.folder / name)] for name in ("old", "file")]
    assert chosen == [["3", "7", "8"]] * 2
    assert "--forget-rows" not in expunge("run", "--help").out


@pytest.mark.filterwarnings("always::expunge.base.errors.ExpungeWarning")
def test_a_flag_wins_over_the_old_name_in_a_file(expunge, job):
    (job.folder / "old.toml").write_text('[forget]\nrows = "1"\n')
    expunge(*job.flags, "--config", "old.toml", "--forget-indices", "3", "--out", "out")
    assert [row["id"] for row in read_predictions(job.folder / "out")] == ["3"]


def test_flags_win_over_the_file(expunge, job):
    (job.folder / "job.toml").write_text('seed = 5\nmethod = "l2ul"\n[settings]\nmargin = 0.25\ngrowth = 1.5\n')
    done = expunge(*job.flags, "--config", "job.toml", "--forget-random", 2, "--set", "margin=0.75", "--out", "out")
    assert done.reached, done.err
    written = tomllib.loads((job.folder / "out/job.toml").read_text())
    assert (written["seed"], written["settings"]["margin"], written["settings"]["growth"]) == (5, 0.75, 1.5)


def test_effort_is_a_setting_of_the_method(expunge, job):
    done = expunge(*job.plain, "--method", "least-change", "--effort", "quick", "--forget-random", 2, "--out", "out")
    assert done.reached, done.err
    assert tomllib.loads((job.folder / "out/job.toml").read_text())["settings"]["surrogates"]["mixes"] == 1000
    refused = expunge(*job.plain, "--method", "l2ul", "--effort", "quick", "--forget-random", 2, "--out", "other")
    assert refused.code == 2
    assert "effort" in refused.err


def test_another_method_on_the_command_line_drops_the_settings_of_the_file(expunge, job):
    (job.folder / "job.toml").write_text('method = "l2ul"\n[settings]\nmargin = 0.25\n')
    done = expunge(*job.plain, "--config", "job.toml", "--method", "relabel-only", "--forget-random", 2, "--out", "out")
    assert done.reached or done.code == 3, done.err


def test_table_with_new_labels_relabels(expunge, job):
    (job.folder / "rows.csv").write_text("id,new_label\n0,1\n1,2\n")
    done = expunge(*job.flags, "--forget", "rows.csv", "--out", "out")
    assert done.reached, done.err
    rows = read_predictions(job.folder / "out")
    assert [(row["id"], row["new_label"], row["predicted_after"], row["goal_met"]) for row in rows] == [
        ("0", "1", "1", "yes"),
        ("1", "2", "2", "yes"),
    ]


def test_correct_moves_mistakes_to_the_label_in_the_data(expunge, job):
    arrays = dict(np.load("images.npz"))
    arrays["y_train"][[4, 9, 14]] = (arrays["y_train"][[4, 9, 14]] + 1) % 3
    np.savez("images.npz", **arrays)
    done = expunge(*job.flags, "--goal", "correct", "--forget-random", 3, "--out", "out")
    assert done.reached, done.err
    rows = read_predictions(job.folder / "out")
    assert [row["id"] for row in rows] == ["4", "9", "14"]
    assert [int(row["predicted_after"]) for row in rows] == arrays["y_train"][[4, 9, 14]].tolist()


def test_goal_not_reached_is_exit_code_3_and_still_saved(expunge, job):
    done = expunge(*job.flags, "--forget-random", 8, "--max-steps", 1, "--out", "out")
    assert done.code == 3
    assert read(job.folder / "out")["stop_reason"] == "step_limit"
    assert "step limit" in done.out


def test_interrupt_saves_the_best_state_and_is_exit_code_130(expunge, job, interrupt_at):
    interrupt_at(1)
    done = expunge(*job.flags, "--forget-random", 8, "--out", "out")
    assert done.code == 130
    result = read(job.folder / "out")
    assert result["stop_reason"] == "interrupted"
    assert result["measured_only"] == []
    assert set(result["files"]) == FILES - {"result.json", "README.md"}


EPOCHS = ["--method", "retrain", "--forget-random", "8"]
EPOCHS += ["--set", "training.batch_size=4", "--set", "training.epochs=30"]


def test_ctrl_c_between_epochs_and_the_same_command_again_is_one_training(expunge, job, interrupt_at):
    looked = interrupt_at(3)
    done = expunge(*job.plain, *EPOCHS, "--out", "out")
    assert done.code == 130
    assert "the same command with --overwrite goes on after the last whole epoch" in done.err
    stopped = read(job.folder / "out")
    assert (stopped["stop_reason"], stopped["steps"]) == ("interrupted", 3)
    assert (job.folder / "out/checkpoint.safetensors").exists()
    assert "--overwrite" in expunge(*job.plain, *EPOCHS, "--out", "out").err
    assert next(looked) == 4
    assert expunge(*job.plain, *EPOCHS, "--out", "out", "--overwrite").code == 3
    assert next(looked) == 5 + 1 + 28  # one at the start, and one after each epoch that the checkpoint lacks
    assert {path.name for path in (job.folder / "out").iterdir()} == FILES
    assert expunge(*job.plain, *EPOCHS, "--out", "whole").code == 3
    one, whole = (read(job.folder / name) for name in ("out", "whole"))
    assert one["files"]["model.safetensors"] == whole["files"]["model.safetensors"]
    assert one["cost"]["gradient_evaluations"] == whole["cost"]["gradient_evaluations"]


def test_a_training_that_was_killed_goes_on_to_the_same_weights(expunge, job):
    flags = [str(flag) for flag in [*job.plain, *EPOCHS]]
    start = [sys.executable, "-m", "expunge", *flags, "--out", "out"]
    process = subprocess.Popen(start, stderr=subprocess.DEVNULL)
    checkpoint, deadline = job.folder / "out/checkpoint.safetensors", time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert checkpoint.exists()
    assert not (job.folder / "out/result.json").exists()
    for out in ("out", "whole"):
        assert expunge(*flags, "--out", out).code == 3
        assert {path.name for path in (job.folder / out).iterdir()} == FILES
    one, whole = (read(job.folder / name) for name in ("out", "whole"))
    assert one["files"]["model.safetensors"] == whole["files"]["model.safetensors"]
    assert [step["losses"] for step in one["trace"]] == [step["losses"] for step in whole["trace"]]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--forget-random", 4, "--out", "full"], "an empty output folder"),
        (["--out", "out"], "one of --forget, --forget-indices, --forget-random and --forget-class"),
        (["--forget-random", 4, "--forget-indices", "1", "--out", "out"], "2 of them"),
        (["--forget-random", 400, "--out", "out"], "1..60"),
        (["--forget-random", "many", "--out", "out"], "a whole number"),
        (["--forget-random", 4, "--set", "radius=2", "--out", "out"], "an unknown setting"),
        (["--forget-random", 4, "--set", "attack.radius=-1", "--out", "out"], "above 0"),
        (["--forget-random", 4, "--set", "margin", "--out", "out"], "NAME=VALUE"),
        (["--forget-random", 4, "--device", "quantum", "--out", "out"], "a device that this machine has"),
        (["--forget-random", 4, "--weights", "absent.safetensors", "--out", "out"], "absent.safetensors"),
        (["--forget-indices", "1,1", "--out", "out"], "each number once"),
        (
            ["--forget-random", 4, "--mean", "9", "--std", "9", "--minimum-right", "0.9", "--out", "out"],
            "normalisation",
        ),
    ],
)
def test_bad_input_is_exit_code_2_with_words(expunge, job, extra, words):
    (job.folder / "full").mkdir()
    (job.folder / "full/thesis.txt").write_text("all of it")
    done = expunge(*job.flags, *extra)
    assert done.code == 2, done.out
    assert words in done.err
    assert (job.folder / "full/thesis.txt").read_text() == "all of it"


def test_forgotten_weights_of_a_function_are_named_first(expunge, job):
    network = (job.folder / "tiny_networks.py").read_text().replace("def build", "import torch\n\ndef build")
    (job.folder / "tiny_networks.py").write_text(network.replace("    return", "    torch.manual_seed(1)\n    return"))
    at = job.flags.index("--weights")
    without = [*job.flags[:at], *job.flags[at + 2 :], "--forget-random", 40, "--minimum-right", 0.9, "--out", "out"]
    done = expunge(*without)
    assert done.code == 2
    words = "--weights was not given, and the network is random unless tiny_networks:build loads some itself; the norm"
    assert words in done.err
    assert "--weights was not" not in expunge(*without, "--weights", "weights.safetensors", "--mean", 9, "--std", 9).err


def test_overwrite_keeps_files_that_are_not_ours(expunge, job):
    (job.folder / "full").mkdir()
    (job.folder / "full/thesis.txt").write_text("all of it")
    done = expunge(*job.flags, "--forget-random", 2, "--out", "full", "--overwrite")
    assert done.reached, done.err
    assert {path.name for path in (job.folder / "full").iterdir()} == {*FILES, "thesis.txt"}


def test_broken_configuration_names_the_file(expunge, job):
    (job.folder / "job.toml").write_text("seed = = 5")
    done = expunge("run", "--config", "job.toml", "--out", "out")
    assert done.code == 2
    assert "job.toml" in done.err


def test_missing_sources_are_named(expunge, job):
    done = expunge("run", "--forget-random", 2, "--out", "out")
    assert done.code == 2
    assert "--model" in done.err


def test_every_step_is_logged(expunge, job, monkeypatch):
    told = []
    monkeypatch.setitem(callbacks.LOGGERS, "tensorboard", lambda place: lambda point: told.append((place, point.step)))
    done = expunge(*job.flags, "--forget-random", 4, "--out", "out", "--log", "tensorboard:logs")
    assert done.reached, done.err
    assert told == [("logs", point["step"]) for point in read(job.folder / "out")["trace"]]


def test_an_unknown_logger_is_named(expunge, job):
    done = expunge(*job.flags, "--forget-random", 4, "--out", "out", "--log", "paper")
    assert done.code == 2
    assert "`--log`: expected tensorboard:FOLDER, wandb or mlflow, got paper" in done.err
