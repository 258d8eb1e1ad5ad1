"""Errors of the command line name flags, and the nearest name where one is misspelt; failed runs leave nothing."""

import pytest

MESSAGES = {
    ("--batch-size", "many"): "`--batch-size`: expected a whole number, got 'many'",
    ("--minimum-right", "2"): "`--minimum-right`: expected at least 0 and at most 1, got 2",
    ("--mean", "grey"): "`--mean`: expected a number, got 'grey'",
    ("--retain-rows", "-1"): "`--retain-rows`: expected at least 0, got -1",
    ("--weights", "gone.safetensors"): "gone.safetensors",
    ("--data", "npy:images.npz"): "did you mean `npz`?",
    ("--model", "cifr:resnet20"): "did you mean `cifar`?",
    ("--model", "cifar:resne20"): "did you mean `resnet20`?",
    ("--method", "least-chnge"): "Did you mean `least-change`?",
    ("--transforms", "mirrored:shift"): "`mirrored:shift`",
    ("--set", "attack.radus=1"): "`--set attack.radus`: expected one of",
    ("--set", "radius=1"): "got an unknown setting; did you mean `attack.radius`?",
    ("--set", "attack.radius=-1"): "`--set attack.radius`: expected above 0, got -1",
    ("--forget-random", "0"): "`--forget-random`: expected at least 1, got 0",
    ("--forget-random", "601"): "`--forget-random`: expected 1..60, the number of images, got 601",
    ("--classes", "a,b"): "`--classes`: expected 3 names, got 2",
    ("--forget-random", "4", "--goal", "correct"): "`--goal`: expected images that the classifier answers wrongly now",
    ("--forget-indices", "4", "--goal", "correct"): "got 1 of 1 that it answers correctly already: 4; leave them out",
    ("--resize", "8", "--crop", "8"): "`--data`: expected images that the classifier takes, got (3, 8, 8) (",
    ("--crop", "4"): "; --resize and --crop say which size images are brought to",
    ("--forget", "same.csv"): "`--forget`: expected a new label other than the label, got the same one for 4",
    ("--goal", "corect"): "'corect' is not one of",
}


@pytest.mark.parametrize("flags", MESSAGES, ids=" ".join)
def test_an_error_of_a_run_names_the_flag_and_leaves_nothing(expunge, job, flags):
    (job.folder / "same.csv").write_text("id,new_label\n4,1\n")
    before = sorted(path.name for path in job.folder.iterdir())
    random = () if any(flag.startswith("--forget") for flag in flags) else ("--forget-random", 4)
    done = expunge(*job.flags, *random, *flags, "--out", "deep/edited")
    assert done.code == 2
    assert MESSAGES[flags] in done.err, done.err
    after = {path.name for path in job.folder.iterdir()} - {"__pycache__"}
    assert sorted(after) == sorted(set(before) - {"__pycache__"})


def test_a_misspelt_command(expunge):
    done = expunge("adit")
    assert done.code == 2
    assert "No such command 'adit'. Did you mean `audit`?" in done.err


def test_a_misspelt_method_of_methods(expunge):
    done = expunge("methods", "l2ull")
    assert done.code == 2
    assert done.err.rstrip().endswith("got l2ull; did you mean `l2ul`?")


def test_a_misspelt_name_in_a_job_file(expunge, job):
    (job.folder / "job.toml").write_text('[model]\nweigths = "weights.safetensors"\n')
    done = expunge("run", "--config", "job.toml", "--out", "edited")
    assert done.code == 2
    assert "`model.weigths`" in done.err
    assert "did you mean `weights`?" in done.err


def test_a_folder_that_was_there_stays(expunge, job):
    (job.folder / "edited").mkdir()
    done = expunge(*job.flags, "--forget-random", 4, "--weights", "gone.safetensors", "--out", "edited")
    assert done.code == 2
    assert (job.folder / "edited").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "--after-weights", "gone.safetensors", "--forget-random", "4", "--level", "quick"),
        ("train", "--num-classes", "3", "--set", "epochs=1", "--leave-out", "gone.csv"),
        ("tune", "l2ul", "--trials", "1"),
    ],
    ids=lambda command: command[0],
)
def test_other_commands_leave_nothing_either(expunge, job, command):
    flags = ["--model", "tiny_networks:build", "--weights", "gone.safetensors", "--data", "npz:images.npz"]
    done = expunge(*command, *flags, "--device", "cpu", "--out", "deep/out")
    assert done.code == 2
    assert not (job.folder / "deep").exists()
