"""The walkthrough of docs/requests.md, and what else the commands say."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small_job import QUICK_FLAGS

from expunge.data.preprocessing import Preprocessing
from expunge.jobs.demo import DigitNet
from expunge.requests.project import Ledger
from expunge.requests.weights import load_first
from expunge.task.outcome import Health

WALKTHROUGH = Path(__file__).parents[2] / "docs" / "requests.md"


def read_commands():
    """Return the arguments of every command in the walkthrough, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", WALKTHROUGH.read_text("utf-8"), flags=re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.processor
@pytest.mark.filterwarnings("ignore:.* of 4 rows are not predicted as labelled:expunge.base.errors.ExpungeWarning")
def test_the_walkthrough_does_what_it_says(tmp_path, monkeypatch, expunge):
    monkeypatch.chdir(tmp_path)
    outputs, weights = {}, []
    for words in read_commands():
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("="))
            continue
        done = expunge(*words[1:])
        assert done.code == 0, (words, done.err)
        outputs.setdefault(" ".join(words[2:3]), []).append(done.out)
        if words[2] in ("apply", "undo"):
            weights.append(load_file("forget/current.safetensors"))
    assert "12 looks like" in outputs["add"][0]
    assert "1347 of training data" in outputs["add"][0]
    assert "came back and were repaired" in outputs["apply"][1]
    assert re.search("repaired R0001/", outputs["apply"][1])
    assert "deleted 1 file of images" in outputs["apply"][2]
    assert all(torch.equal(weights[1][name], weights[3][name]) for name in weights[1])
    assert not all(torch.equal(weights[1][name], weights[2][name]) for name in weights[1])
    assert all("0 problems" in out for out in outputs["verify"])
    assert "withdrawn" in outputs["show"][0]
    assert list(Path("forget/images").iterdir()) == []
    check_exported(Path("deployed"))


def check_exported(folder):
    """Run the ONNX file on the test images, independently of the package."""
    onnxruntime = pytest.importorskip("onnxruntime")
    network = DigitNet().eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    x = torch.from_numpy(np.load("digits/images.npz")["x_test"])[:, None].float() / 255
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixels": x.numpy()})
    with torch.no_grad():
        expected = network(x)
        loaded = torch.export.load(folder / "model.pt2").module()(x)
    assert np.abs(found - expected.numpy()).max() < 1e-4
    assert torch.allclose(loaded, expected, atol=1e-5)
    assert (found.argmax(1) == expected.numpy().argmax(1)).all()
    card = (folder / "MODEL_CARD.md").read_text("utf-8")
    assert "edited for 10 training instances in 2 requests" in card
    assert "10 forgotten images" in card
    assert "letter" not in card


@pytest.fixture
def project(job, expunge, monkeypatch):
    """Return the folder of a project around the small job of these tests, where no edit counts as ruining."""
    monkeypatch.setattr(Health, "ruined", False)
    made = expunge(
        *("requests", "init", "project", "--model", "tiny_networks:build", "--weights", "weights.safetensors"),
        *("--mean", "0.5", "--std", "0.25", "--data", "npz:images.npz", "--method", "l2ul"),
        *(*QUICK_FLAGS, "--budget", "90"),
    )
    assert made.code == 0, made.err
    monkeypatch.setenv("EXPUNGE_PROJECT", "project")
    return job.folder / "project"


def test_help_of_the_group_imports_neither_torch_nor_sqlalchemy():
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    script = (
        "import sys; sys.argv = ['expunge', 'requests', '--help']\n"
        "from expunge.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'sqlalchemy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "withdraw" in done.stdout


def test_sizes_class_names_and_the_place_of_the_images_are_kept(job, expunge):
    made = expunge(
        *("requests", "init", "sized", "--model", "tiny_networks:build", "--weights", "weights.safetensors"),
        *("--mean", "0.5", "--std", "0.25", "--resize", "9", "--crop", "6", "--method", "l2ul"),
        *("--data", "torchvision:MNIST:sets"),
    )
    assert made.code == 0, made.err
    assert Ledger.open(job.folder / "sized").state.created["data"] == f"torchvision:MNIST:{job.folder / 'sets'}"
    loaded = load_first(Ledger.open(job.folder / "sized"))
    assert loaded.preprocessing == Preprocessing(9, (6, 6))
    count = loaded.classifier.num_classes
    names = ",".join(f"kind {number}" for number in range(count))
    wrong = expunge(
        *("requests", "init", "named", "--model", "tiny_networks:build", "--weights", "weights.safetensors"),
        *("--mean", "0.5", "--std", "0.25", "--classes", names + ",more", "--method", "l2ul"),
    )
    assert wrong.code == 2
    assert f"expected {count} names, got {count + 1}" in wrong.err


def test_a_terminal_obeys_nothing_that_stands_in_a_request(project, expunge):
    levels = np.load("images.npz")["x_train"]
    Image.fromarray(levels[3]).save("\x1b[2Jportrait.png")
    words = ("--label", "0", "--keep-names", "--reference", "\x1b]0;owned\x07")
    assert expunge("requests", "add", "\x1b[2Jportrait.png", *words).code == 0
    assert expunge("requests", "withdraw", "R0001", "--reason", "\x1b[31m").code == 0
    shown = [expunge("requests", *words) for words in (["show", "R0001"], ["list"], ["show", "R0001", "--json"])]
    assert [one.code for one in shown] == [0, 0, 0]
    assert not any({"\x1b", "\x07"} & set(one.out) for one in shown)
    assert "reference  \\u001b]0;owned\\u0007\n" in shown[0].out
    assert "instance   \\u001b[2Jportrait.png  label 0" in shown[0].out
    assert "withdrawn  \\u001b[31m" in shown[0].out
    assert "\\u001b]0;owned\\u0007" in shown[1].out


def test_image_files_ids_and_tables_can_be_added(project, expunge):
    levels = np.load("images.npz")["x_train"]
    Image.fromarray(levels[3]).save("portrait.png")
    assert "R0001: 1 instance" in expunge("requests", "add", "portrait.png", "--label", "0").out
    added = expunge("requests", "add", "--data", "npz:images.npz", "--ids", "3,5")
    assert "note: 3 is the same picture as 1 of R0001" in added.out
    assert "portrait" not in expunge("requests", "show", "R0001", "--json").out
    Path("wanted.csv").write_text("id,new_label\n7,2\n")
    assert "relabel" in expunge("requests", "add", "--data", "npz:images.npz", "--forget", "wanted.csv").out
    assert [line.split()[1] for line in expunge("requests", "list").out.splitlines()[1:4]] == ["validated"] * 3
    assert '"state": "validated"' in expunge("requests", "show", "R0002", "--json").out
    assert expunge("requests", "list", "--json").out.count('"request"') == 3


@pytest.mark.filterwarnings("always::expunge.base.errors.ExpungeWarning")
def test_an_image_that_was_answered_otherwise_all_along_is_not_told_as_forgotten(project, expunge):
    for row in (1, 3):
        Image.fromarray(np.load("images.npz")["x_train"][row]).save(f"{row}.png")
    added = expunge("requests", "add", "1.png", "3.png", "--label", "1")
    assert "note: 1 of 2 rows are not predicted as labelled: 2 (0 instead of 1); perhaps a label is wrong" in added.err
    sentence = (
        "The answer to 1 of 2 images is what it was before: it was answered as asked already. "
        "Perhaps its label is wrong."
    )
    assert f"R0001: {sentence}" in expunge("requests", "apply", "--device", "cpu").out
    assert f"unchanged  {sentence}" in expunge("requests", "show", "R0001").out
    assert json.loads(expunge("requests", "show", "R0001", "--json").out)["unchanged"] == 1


def test_without_test_images_nobody_is_told_that_the_budget_is_spent(job, expunge, monkeypatch):
    monkeypatch.setattr(Health, "ruined", False)
    made = expunge(
        *("requests", "init", "blind", "--model", "tiny_networks:build", "--weights", "weights.safetensors"),
        *("--mean", "0.5", "--std", "0.25", "--method", "l2ul", "--budget", "0.001"),
        *QUICK_FLAGS,
    )
    assert made.code == 0, made.err
    monkeypatch.setenv("EXPUNGE_PROJECT", "blind")
    expunge("requests", "add", "--data", "npz:images.npz", "--rows", "0-2")
    for words in ("apply", "list", "plan"):
        told = expunge("requests", words).out
        assert re.search(r"drift: an estimate, [1-9][\d.]*% of the answers to surrogates changed", told), told
        assert "over the budget of 0.001 points of accuracy can't be told without test images" in told
        assert "time to retrain" not in told


@pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
def test_a_copy_in_the_training_data_with_another_label_is_named_and_not_added(project, expunge):
    Image.fromarray(np.load("images.npz")["x_train"][3]).save("portrait.png")
    words = ("requests", "add", "portrait.png", "--label", "1", "--minimum-right", "0", "--against", "npz:images.npz")
    refused = expunge(*words, "--include-duplicates")
    assert refused.code == 2
    assert "expected one label for each picture, got 1 for 1, and 0 for 3 of the training data: the same" in refused.err
    assert "which is right? Give 1 the label 0 if that is, or leave 3 out" in refused.err
    added = expunge(*words)
    assert added.code == 0, added.err
    assert "1 is the same picture as 3 of training data, which has label 0 there, not 1" in added.out


def test_a_picture_and_its_copy_in_the_training_data_may_have_the_same_number(project, expunge):
    Image.fromarray(np.load("images.npz")["x_train"][1]).save("portrait.png")
    words = ("--label", "1", "--against", "npz:images.npz", "--include-duplicates")
    added = expunge("requests", "add", "portrait.png", *words)
    assert "1 is the same picture as 1 of training data" in added.out
    ledger = Ledger.open(project)
    assert [one.id for one in ledger.instances(ledger.state.find("R0001"))][:2] == ["1", "training 1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "expected image files, or --data, got neither"),
        (["add", "--data", "npz:images.npz"], "expected one of --forget, --rows, --ids and --all, got none of them"),
        (["add", "--data", "npz:images.npz", "--ids", "x"], "expected ids of the data, such as 0, got x"),
        (["add", "images.npz"], "expected the label of the image files, got none"),
        (
            ["add", "--data", "npz:images.npz", "--rows", "1", "--label", "2"],
            "expected none with --data, whose images have labels, got 2; leave it out",
        ),
        (["show", "R0001"], "expected a request; there is none yet, got R0001"),
        (["undo"], "nothing was applied"),
        (["verify", "--head", "f" * 16], "which is not there"),
        (["verify", "--head", "f00"], "expected 16 to 64 digits of a hash, 0-9 and a-f, got f00"),
        (["verify", "--head", ""], "expected 16 to 64 digits of a hash, 0-9 and a-f, got nothing"),
        (
            ["add", "--data", "npz:images.npz", "--rows", "1", "--keep-until", "2020-01-01"],
            "expected today or a later day",
        ),
        (
            ["add", "--data", "npz:images.npz", "--rows", "1", "--method", "fine-tune"],
            "`--method`: expected one without retain data, which a project doesn't have, got fine-tune",
        ),
        (["purge", "--versions"], "expected versions to delete, got none"),
        (["list", "--project", "."], "expected a project of deletion requests"),
        (["export", "--out", "out"], "expected the shape C,H,W of an image"),
    ],
)
def test_what_is_wrong_is_said_and_the_exit_code_is_two(project, expunge, arguments, words):
    done = expunge("requests", *arguments)
    assert done.code == 2
    assert words in done.err


@pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
def test_apply_and_withdraw_refuse_an_edit_that_ruins_the_classifier_and_say_so(project, expunge, monkeypatch):
    kept = ["--minimum-right", 0, "--keep-until", "2999-01-01"]
    for rows in ("0-2", "3"):
        expunge("requests", "add", "--data", "npz:images.npz", "--rows", rows, *kept)
        expunge("requests", "apply", "--device", "cpu")
    weights = Path("project/current.safetensors").read_bytes()
    monkeypatch.setattr(Health, "ruined", True)
    monkeypatch.setattr(Health, "reasons", lambda _: ["it is right on 42.9%, and was on 67.5%"])
    done = expunge("requests", "withdraw", "R0001", "--device", "cpu")
    assert done.code == 5
    assert "R0002: the edit ruins the classifier: on " in done.err
    expunge("requests", "add", "--data", "npz:images.npz", "--rows", "6", "--minimum-right", "0")
    done = expunge("requests", "apply", "--device", "cpu")
    assert done.code == 5
    assert "R0003: failed: the edit ruins the classifier: on " in done.err
    assert "test images, it is right on 42.9%, and was on 67.5%; the classifier was left as it was" in done.err
    assert "R0003: withdraw it and add it again with another method" in done.err
    assert Path("project/current.safetensors").read_bytes() == weights


def test_apply_says_what_it_did_before_an_error_and_the_code_is_three(project, expunge, monkeypatch):
    monkeypatch.setattr("expunge.requests.receive.require_forget_only", lambda _: None)
    for words in (["--rows", "0-2"], ["--rows", "3", "--method", "fine-tune"], ["--rows", "6", "--seed", "1"]):
        expunge("requests", "add", "--data", "npz:images.npz", "--minimum-right", "0", *words)
    Path("project/cache").mkdir()
    Path("project/cache/some.safetensors").write_bytes(b"surrogates")
    done = expunge("requests", "apply", "--device", "cpu")
    assert done.code == 3
    assert "version 1: R0001 forgotten" in done.out
    assert "R0002: failed: `retain`: expected the rest of the training data" in done.err
    assert "version 2: R0003 forgotten" in done.out
    assert "deleted 2 files of images and 1 file of unsealed surrogates; the ledger has their hashes" in done.out
    assert (expunge("requests", "apply").code, expunge("requests", "verify").code) == (0, 0)


def test_apply_says_what_ended_it_when_something_was_done(project, expunge, full_disk):
    for words in (["--rows", "0-2"], ["--rows", "6", "--seed", "1"]):
        expunge("requests", "add", "--data", "npz:images.npz", "--minimum-right", "0", *words)
    full_disk("0002-patch")
    done = expunge("requests", "apply", "--device", "cpu")
    assert done.code == 3
    assert "version 1: R0001 forgotten" in done.out
    assert "error: `" in done.err
    assert "No space left on device\nnote: that ended the command; what it had done by then holds" in done.err
    assert expunge("requests", "apply", "--device", "cpu").code == 2


@pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
def test_the_plan_is_a_table_of_what_train_leaves_out(project, expunge):
    """Its one picture was given under another label than it has in the training data."""
    Image.fromarray(np.load("images.npz")["x_train"][3]).save("portrait.png")
    Path("wanted.csv").write_text("id,new_label\n7,2\n")
    for words in (["portrait.png", "--label", "1"], ["--data", "npz:images.npz", "--forget", "wanted.csv"]):
        assert expunge("requests", "add", *words, "--minimum-right", "0").code == 0
    done = expunge("requests", "plan", "--data", "npz:images.npz")
    assert done.code == 0, done.err
    assert "found in the training data: 2 of 2" in done.out
    assert "retrain.csv: to leave out by `expunge train --leave-out`\nretrain-relabel.csv: to get these" in done.out
    assert Path("retrain-relabel.csv").read_text() == "request,instance,given_label,new_label,row,id\nR0002,7,1,2,7,7\n"
    trained = expunge(
        *("train", "--model", "tiny_networks:build", "--mean", "0.5", "--std", "0.25", "--data", "npz:images.npz"),
        *("--recipe", "digits", "--set", "epochs=1", "--leave-out", "retrain.csv", "--out", "trained"),
    )
    assert trained.code == 0, trained.err
    assert json.loads(Path("trained/train.json").read_text())["left_out"] == ["3"]


def test_apply_verify_and_purge_say_what_they_did(project, expunge):
    assert "nothing is waiting" in expunge("requests", "apply").out
    expunge("requests", "add", "--data", "npz:images.npz", "--rows", "0-2", "--keep-until", "2999-01-01")
    assert "version 1: R0001 forgotten" in expunge("requests", "apply", "--device", "cpu").out
    head = expunge("requests", "verify").out.split()[-1]
    assert expunge("requests", "verify", "--head", head).code == 0
    assert "nothing is due" in expunge("requests", "purge").out
    purged = expunge("requests", "purge", "R0001", "--fingerprints").out
    assert "deleted images/R0001-" in purged
    assert "perceptual hashes of 1 requests" in purged
    assert "images     deleted" in expunge("requests", "show", "R0001").out
    assert "deleted versions/0001-patch-" in expunge("requests", "purge", "--versions").out
    next((project / "versions").iterdir()).unlink()
    done = expunge("requests", "verify")
    assert (done.code, re.search("versions/first-.*: missing", done.err) is not None) == (2, True)
