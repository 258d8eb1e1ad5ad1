"""Edited classifiers in the hands of others: their own loaders, a hub that stands in for the real one."""

import base64
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load as load_tensors
from torch import nn

from expunge.base.errors import ClassifierError, ExpungeError, ExpungeWarning, OutputError
from expunge.compute.context import Cost
from expunge.data.forget import ForgetSet
from expunge.data.preprocessing import Interpolation, Preprocessing, pixels_of
from expunge.models.classifier import Classifier
from expunge.models.pixels import Bounds, Normalisation
from expunge.models.sources import ModelSource, load_classifier
from expunge.task.edit import Edit
from expunge.task.goals import achieved
from expunge.task.task import StopReason, Task

SHAPE = (3, 32, 32)
CLASSES = ("ant", "bee", "cat")
TIMM = """
import sys, numpy, timm
from PIL import Image

def answer(folder, image):
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert network.pretrained_cfg["label_names"] == ["ant", "bee", "cat"]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    return network(transform(image)[None])
"""
TRANSFORMERS = """
import sys, numpy
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

def answer(folder, image):
    network = AutoModelForImageClassification.from_pretrained(folder).eval()
    assert network.config.id2label == {0: "ant", 1: "bee", 2: "cat"}
    return network(**AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")).logits
"""
ASK = """
image, *folders = sys.argv[1:]
for folder in folders:
    numpy.save(folder + "/answer.npy", answer(folder, Image.open(image).convert("RGB")).detach().numpy())
assert not any(name.startswith("expunge") for name in sys.modules)
"""
PREPROCESSINGS = [
    Preprocessing(36, (32, 32), Interpolation.BICUBIC),
    Preprocessing((32, 32), None, Interpolation.BILINEAR),
    Preprocessing((32, 32), (32, 32), Interpolation.BILINEAR),
]


def timm_network():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    return timm.create_model("mobilenetv3_small_050", num_classes=3, pad_type="same", act_layer="gelu").eval()


def transformers_network():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        num_labels=3,
    )
    return transformers.ViTForImageClassification(config).eval()


def own_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)).eval()


LIBRARIES = {"timm": (timm_network, TIMM), "transformers": (transformers_network, TRANSFORMERS)}


def make_edit(network, bounds=Bounds()):
    """Return an edit by hand: some weights moved, nothing else."""
    classifier = Classifier.wrap(
        network, num_classes=3, mean=(0.45, 0.5, 0.55), std=(0.2, 0.25, 0.3), bounds=bounds, class_names=CLASSES
    )
    x = bounds.lower + torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(1)) * bounds.width
    labels = classifier(x).argmax(dim=1).detach()
    task = Task.create(classifier, ForgetSet(tuple(f"person-{row}" for row in range(4)), x, labels))
    edited = classifier.copy()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in edited.network.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    held = achieved(task.goal, edited(x).detach(), task.labels)
    cost = Cost(1.0, {"edit": 0.5}, 6, 1024)
    return Edit(task, edited, "by hand", {"rate": 0.5}, StopReason.STEP_LIMIT, 1, (), cost, held)


@pytest.fixture
def photograph(tmp_path):
    """Return the path of a smooth colour picture of 48x40 pixels."""
    small = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    path = tmp_path / "photograph.png"
    Image.fromarray(small).resize((40, 48), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.slow
def test_its_own_library_alone_loads_the_folder_and_answers_as_ours(library, photograph, tmp_path):
    make_network, script = LIBRARIES[library]
    edit, folders = make_edit(make_network()), [tmp_path / str(number) for number in range(len(PREPROCESSINGS))]
    for folder, preprocessing in zip(folders, PREPROCESSINGS, strict=True):
        edit.save(folder, preprocessing=preprocessing)
    subprocess.run([sys.executable, "-c", script + ASK, photograph, *folders], check=True)
    for folder, preprocessing in zip(folders, PREPROCESSINGS, strict=True):
        x = pixels_of(preprocessing.apply(Image.open(photograph)))[None]
        with torch.no_grad():
            expected, before = edit.classifier(x), edit.task.classifier(x)
        found = torch.from_numpy(np.load(folder / "answer.npy"))
        # an eighth of the edit's own effect: libraries round resized pixels to levels of their own
        assert (found - expected).abs().max() < 0.125 * (before - expected).abs().max()
        assert torch.equal(found.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1, 1)], ids=["unit", "symmetric"])
def test_what_is_loaded_again_is_the_same_classifier(library, bounds, tmp_path):
    edit = make_edit(LIBRARIES[library][0](), bounds)
    edit.save(tmp_path, preprocessing=PREPROCESSINGS[0])
    saved = Edit.load(tmp_path)
    assert saved.classifier.sha256() == edit.classifier.sha256()
    x = edit.task.forget_set.x
    torch.testing.assert_close(saved.classifier(x), edit.classifier(x), rtol=1e-6, atol=1e-6)
    assert (saved.classifier.bounds, saved.classifier.class_names) == (bounds, CLASSES)
    assert saved.description.preprocessing == PREPROCESSINGS[0]
    assert (saved.method, saved.goal_achieved) == ("by hand", edit.goal_achieved)
    assert saved.stop_reason is StopReason.STEP_LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_onnx_answers_as_the_edited_classifier(library, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    edit = make_edit(LIBRARIES[library][0]())
    edit.save(tmp_path)
    (tmp_path / "export").mkdir()
    [exported] = Edit.load(tmp_path).export(tmp_path / "export", ["onnx"])
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    x = edit.task.forget_set.x
    [logits] = session.run(["logits"], {"pixels": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), edit.classifier(x).detach(), rtol=1e-4, atol=1e-4)
    assert not any(place in exported.path.read_bytes() for place in (b"site-packages", b"src/expunge"))


def test_other_bounds_become_means_of_unit_pixels(tmp_path):
    make_edit(timm_network(), Bounds(-1, 1)).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    assert config["mean"] == pytest.approx([0.725, 0.75, 0.775])
    assert config["std"] == pytest.approx([0.1, 0.125, 0.15])


def test_a_network_of_ones_own_is_loaded_into_one_that_is_given(tmp_path):
    edit = make_edit(own_network())
    edit.save(tmp_path)
    assert not (tmp_path / "config.json").exists()
    with pytest.raises(ClassifierError, match="expected an architecture, got none"):
        Edit.load(tmp_path)
    assert 'expunge.Edit.load("FOLDER", network).classifier' in (tmp_path / "README.md").read_text()
    given = own_network()
    saved = Edit.load(tmp_path, given)
    assert repr(saved).startswith(f"SavedEdit('{tmp_path}', ")
    assert len(repr(saved)) < len(str(tmp_path)) + 100
    assert saved.classifier.sha256() == edit.classifier.sha256()
    assert torch.equal(given[1].weight, own_network()[1].weight)


WRAPPED = {
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "half": lambda network: network.half(),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.filterwarnings("ignore:the network's weights are float16")
def test_the_very_network_that_was_edited_is_taken_again(wrap, tmp_path):
    given = wrap(own_network())
    edit = make_edit(given)
    edit.save(tmp_path)
    saved = Edit.load(tmp_path, given)
    assert saved.classifier.sha256() == edit.classifier.sha256()
    x = edit.task.forget_set.x
    assert torch.equal(saved.classifier(x), edit.classifier(x))
    assert next(given.parameters()).dtype == (torch.float16 if wrap is WRAPPED["half"] else torch.float32)


def test_an_edit_in_double_precision_stays_so_whatever_network_it_is_loaded_into(tmp_path):
    edit = make_edit(own_network().double())
    edit.save(tmp_path)
    for given in (own_network().double(), own_network()):
        saved = Edit.load(tmp_path, given)
        assert saved.classifier.sha256() == edit.classifier.sha256()
        assert saved.classifier(edit.task.forget_set.x.double()).dtype == torch.float64


def test_an_edit_in_double_precision_of_a_librarys_network_stays_so(tmp_path):
    edit = make_edit(timm_network().double())
    edit.save(tmp_path)
    assert Edit.load(tmp_path).classifier.sha256() == edit.classifier.sha256()


def test_another_network_is_refused_in_words_that_fit_python(tmp_path):
    make_edit(own_network()).save(tmp_path)
    words = r"got 2 missing .*, 1 surplus .*; is the network the one that they were trained in, with as many classes"
    with pytest.raises(ClassifierError, match=words) as refused:
        Edit.load(tmp_path, nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3, bias=False), nn.Linear(3, 3)))
    assert "--" not in str(refused.value)


def test_an_architecture_in_the_job_is_enough(tmp_path):
    with pytest.warns(UserWarning, match="random weights"):
        loaded = load_classifier(ModelSource("cifar:resnet20", None, 3, Normalisation()))
    edit = make_edit(loaded.classifier.network)
    edit.save(tmp_path, job={"model": {"architecture": "cifar:resnet20"}})
    assert Edit.load(tmp_path).classifier.sha256() == edit.classifier.sha256()
    assert 'expunge.Edit.load("FOLDER").classifier' in (tmp_path / "README.md").read_text()


def test_the_card_says_that_a_function_of_ones_own_is_run(tmp_path):
    make_edit(own_network()).save(tmp_path, job={"model": {"architecture": "mine:build"}})
    assert 'expunge.Edit.load("FOLDER", allow_code=True).classifier' in (tmp_path / "README.md").read_text()


def test_folders_that_are_not_whole_are_refused(tmp_path):
    with pytest.raises(OutputError, match="expected the result of an edit"):
        Edit.load(tmp_path)
    make_edit(own_network()).save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(OutputError, match="expected the file that was saved, got another"):
        Edit.load(tmp_path, own_network())
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OutputError, match=r"model.safetensors`: expected a file of the edit, got none there"):
        Edit.load(tmp_path, own_network())


def test_a_library_that_cannot_load_says_why(tmp_path):
    make_edit(timm_network()).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architecture": "resnet18"}))
    result = json.loads((tmp_path / "result.json").read_text())
    result["files"].pop("config.json")
    (tmp_path / "result.json").write_text(json.dumps(result))
    with pytest.raises(ClassifierError, match="a folder that timm can load"):
        Edit.load(tmp_path)


def test_the_last_edits_configuration_does_not_stay(tmp_path):
    make_edit(timm_network()).save(tmp_path)
    make_edit(own_network()).save(tmp_path, overwrite=True)
    assert not (tmp_path / "config.json").exists()


def test_files_of_the_users_own_stay(tmp_path):
    (tmp_path / "README.md").write_text("my notes")
    (tmp_path / "config.json").write_text("{}")
    with pytest.warns(ExpungeWarning, match=r"README\.md is no model card of an edit"):
        result = make_edit(own_network()).save(tmp_path, overwrite=True)
    assert (tmp_path / "README.md").read_text() == "my notes"
    assert (tmp_path / "config.json").read_text() == "{}"
    assert {"README.md", "config.json"}.isdisjoint(result["files"])


SAVE = """
import sys
sys.path.insert(0, sys.argv[1])
import test_saved
test_saved.make_edit(test_saved.timm_network()).save(sys.argv[2])
"""


def test_equal_edits_give_equal_files_in_any_process(tmp_path):
    make_edit(timm_network()).save(tmp_path / "one")
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", SAVE, here, tmp_path / "two"], check=True, cwd=tmp_path)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_the_card_names_no_image(tmp_path):
    make_edit(timm_network()).save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "answer each of these images with another label than its own; there are 4 of them" in card
    assert 'timm.create_model("local-dir:FOLDER"' in card
    result = json.loads((tmp_path / "result.json").read_text())
    assert "person" not in card
    assert result["inputs"]["forget_sha256"] not in card


def test_no_folder_of_the_machine_stands_in_what_others_get(tmp_path):
    (tmp_path / "secret").mkdir()
    for source in ("timm:local-dir", "transformers"):
        out = tmp_path / source.partition(":")[0]
        make_edit(timm_network()).save(out, job={"model": {"architecture": f"{source}:{tmp_path / 'secret'}"}})
        for name in ("README.md", "classifier.json"):
            assert "secret" not in (out / name).read_text()


# The hub


class Hub(BaseHTTPRequestHandler):
    """The four questions that an upload asks, answered as the hub does, and what was sent."""

    def do_POST(self):
        """Answer one question."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answers = {
            "/api/repos/create": {"url": f"{self.server.address}/me/forgetful", "name": "me/forgetful"},
            "/api/models/me/forgetful/preupload/main": {
                "files": [
                    {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for each in (json.loads(body).get("files", []) if b'"files"' in body else [])
                ]
            },
            "/api/models/me/forgetful/commit/main": {
                "commitUrl": f"{self.server.address}/me/forgetful/commit/abc",
                "commitOid": "abc",
                "success": True,
            },
        }
        self.server.asked.append((self.path, body))
        self.answer(answers.get(self.path, {"isValid": True}))

    def do_GET(self):
        """Answer what is there already: nothing."""
        self.server.asked.append((self.path, b""))
        self.answer({"id": "me/forgetful", "sha": "0" * 40, "siblings": []})

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def answer(self, content):
        """Send JSON, or the refusal that the test wants."""
        text = json.dumps(content).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch):
    """Return a server that the client takes for the hub."""
    client = pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address, server.asked, server.status = f"http://127.0.0.1:{server.server_port}", [], 200

    class Local(client.HfApi):
        """The client, with the server for the hub."""

        def __init__(self):
            super().__init__(endpoint=server.address, token="a-token")  # noqa: S106

    monkeypatch.setattr(client, "HfApi", Local)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def sent_files(hub):
    """Return the files of the one commit by name."""
    [body] = [body for path, body in hub.asked if path.endswith("/commit/main")]
    lines = [json.loads(line) for line in body.splitlines()]
    return {
        line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
    }


def test_what_is_pushed_is_what_others_load_and_nothing_else(hub):
    edit = make_edit(timm_network())
    address = edit.push_to_hub("me/forgetful")
    assert address == f"{hub.address}/me/forgetful/commit/abc"
    [created] = [json.loads(body) for path, body in hub.asked if path == "/api/repos/create"]
    assert created.get("private", created.get("visibility") == "private") is True
    files = sent_files(hub)
    assert set(files) == {"README.md", "classifier.json", "config.json", "model.safetensors"}
    sent = load_tensors(files["model.safetensors"])
    assert all(torch.equal(sent[name], tensor) for name, tensor in edit.classifier.network.state_dict().items())
    assert not any(b"person" in content for content in files.values())


def test_a_saved_edit_is_pushed_too(hub, tmp_path):
    make_edit(transformers_network()).save(tmp_path)
    Edit.load(tmp_path).push_to_hub("me/forgetful", private=False)
    assert set(sent_files(hub)) == {
        "README.md",
        "classifier.json",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }


def test_a_pull_request_proposes_and_its_address_is_returned(hub, monkeypatch):
    import huggingface_hub  # noqa: PLC0415 - an optional extra

    asked, address = [], f"{hub.address}/me/forgetful"

    def upload(self, **told):
        asked.append((told["repo_id"], told["create_pr"], {path.name for path in told["folder_path"].iterdir()}))
        return SimpleNamespace(commit_url=f"{address}/commit/abc", pr_url=f"{address}/discussions/7")

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    assert make_edit(own_network()).push_to_hub("me/forgetful", create_pr=True) == f"{address}/discussions/7"
    assert asked == [("me/forgetful", True, {"README.md", "classifier.json", "model.safetensors"})]


def test_a_hub_that_refuses_is_named(hub):
    hub.status = 401
    with pytest.raises(OutputError, match=r"me/forgetful`: expected a repository of the hub.*hf auth login"):
        make_edit(own_network()).push_to_hub("me/forgetful")


def test_without_the_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ExpungeError, match=r"pip install expunge\[huggingface\]"):
        make_edit(own_network()).push_to_hub("me/forgetful")
