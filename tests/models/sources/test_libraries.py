"""timm and torchvision: the same rules, one table."""

import sys

import pytest
import torch
from safetensors.torch import save_file

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.data import DataRequest, load_data
from expunge.data.images import Subset, batches
from expunge.data.preprocessing import Interpolation, Preprocessing
from expunge.models.known import preprocessing_of_timm
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource, load_classifier

timm = pytest.importorskip("timm")
torchvision_models = pytest.importorskip("torchvision.models")

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MAKE = {
    "timm:resnet10t": lambda classes: timm.create_model("resnet10t", num_classes=classes),
    "torchvision:squeezenet1_1": lambda classes: torchvision_models.squeezenet1_1(num_classes=classes),
}


@pytest.mark.parametrize("architecture", MAKE)
def test_class_count_comes_from_the_weights(tmp_path, architecture):
    network = MAKE[architecture](7).eval()
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    loaded = load_classifier(ModelSource(architecture, tmp_path / "a.safetensors"))
    assert loaded.classifier.num_classes == 7
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    x = torch.rand(1, 3, 64, 96)
    assert torch.allclose(loaded.classifier(x), network((x - mean) / std), atol=1e-4)


@pytest.mark.parametrize("architecture", MAKE)
def test_random_networks_warn(architecture):
    with pytest.warns(ExpungeWarning, match="has random weights"):
        loaded = load_classifier(ModelSource(architecture, num_classes=3, normalisation=Normalisation((0.5,), (0.5,))))
    assert loaded.classifier.num_classes == 3
    assert loaded.classifier.normalisation == Normalisation((0.5,), (0.5,))


@pytest.mark.parametrize("architecture", MAKE)
def test_weights_of_another_class_count_than_asked(tmp_path, architecture):
    save_file(MAKE[architecture](7).state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(ClassifierError, match=r"2 misshapen \(.*\(7.* instead of \(5"):
        load_classifier(ModelSource(architecture, tmp_path / "a.safetensors", num_classes=5))


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("timm:resnet1O", r"expected a model of timm, got resnet1O; did you mean resnet1"),
        ("timm:local-dir:nowhere", "expected weights that the library finds, got FileNotFoundError"),
        ("timm:ftp:me/mine", "expected a model of timm, got ftp:me/mine"),
        ("torchvision:resnet81", r"expected a classifier of torchvision, got resnet81; did you mean resnet18"),
        ("torchvision:fasterrcnn_resnet50_fpn", "expected a classifier of torchvision"),
        ("timm:resnet10t?wings=2", r"expected options that this model takes, got .*wings"),
        ("timm:resnet10t?global_pool=nothing", "got AssertionError: Invalid pool type: nothing"),
        ("torchvision:squeezenet1_1?wings=2", "expected options that this model takes, got .*wings"),
    ],
)
def test_wrong_names_and_options_are_named(architecture, words):
    with pytest.raises(ClassifierError, match=words):
        load_classifier(ModelSource(architecture))


def test_a_folder_of_timm_brings_weights_and_names_along(tmp_path):
    network = timm.create_model("resnet10t", num_classes=3).eval()
    settings = {"label_names": ["ant", "bee", "cat"], "pretrained_cfg": {"mean": (0.5,) * 3, "std": (0.25,) * 3}}
    timm.models.save_for_hf(network, tmp_path / "saved", settings, safe_serialization=True)
    architecture = f"timm:local-dir:{tmp_path / 'saved'}"
    loaded = load_classifier(ModelSource(architecture))
    assert loaded.classifier.class_names == ("ant", "bee", "cat")
    assert loaded.classifier.normalisation == Normalisation((0.5,) * 3, (0.25,) * 3)
    x = torch.rand(1, 3, 64, 96)
    assert torch.allclose(loaded.classifier(x), network((x - 0.5) / 0.25), atol=1e-4)
    with pytest.raises(ClassifierError, match="`num_classes`: expected 3, as the model has, got 5"):
        load_classifier(ModelSource(architecture, num_classes=5))
    other = timm.create_model("resnet10t", num_classes=3).eval()
    save_file(other.state_dict(), tmp_path / "a.safetensors")
    filled = load_classifier(ModelSource(architecture, tmp_path / "a.safetensors"))
    assert torch.equal(filled.classifier.network.fc.weight, other.fc.weight)


@pytest.mark.parametrize("prefix", ["timm", "torchvision", "transformers"])
def test_missing_libraries_say_what_to_install(monkeypatch, prefix):
    monkeypatch.setitem(sys.modules, prefix, None)
    monkeypatch.delitem(sys.modules, "torchvision.models", raising=False)
    with pytest.raises(ClassifierError, match=r"expected an installed package.*pip install expunge\[models\]"):
        load_classifier(ModelSource(f"{prefix}:resnet18"))


@pytest.mark.parametrize(("module", "name"), [(timm, "create_model"), (torchvision_models, "get_model")])
def test_failed_downloads_are_explained(monkeypatch, module, name):
    def offline(*_, **settings):
        assert settings["pretrained"] if "pretrained" in settings else settings["weights"] == "DEFAULT"
        raise ConnectionError("Name or service not known\nmore")

    monkeypatch.setattr(module, name, offline)
    prefix = "timm" if module is timm else "torchvision"
    words = "got ConnectionError: Name or service not known; check the name and the network, or pass a file"
    with pytest.raises(ClassifierError, match=words):
        load_classifier(ModelSource(f"{prefix}:resnet18", "pretrained"))


def test_pretrained_torchvision_brings_class_names(monkeypatch):
    network = torchvision_models.squeezenet1_1()
    monkeypatch.setattr(torchvision_models, "get_model", lambda *_, **__: network)
    loaded = load_classifier(ModelSource("torchvision:squeezenet1_1", "pretrained"))
    assert loaded.classifier.class_names[:2] == ("tench", "goldfish")
    assert loaded.preprocessing == Preprocessing(256, (224, 224), Interpolation.BILINEAR)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Preprocessing(256, (224, 224), Interpolation.BICUBIC)),
        ({"crop_pct": 0.9, "interpolation": "bilinear"}, Preprocessing(248, (224, 224))),
        ({"crop_pct": 1.0, "crop_mode": "squash"}, Preprocessing((224, 224), (224, 224), Interpolation.BICUBIC)),
    ],
)
def test_preprocessing_of_timm(change, expected):
    data = {"input_size": (3, 224, 224), "crop_pct": 0.875, "crop_mode": "center", "interpolation": "bicubic"} | change
    assert preprocessing_of_timm(data) == expected


def test_unknown_crop_modes_are_refused():
    data = {"input_size": (3, 224, 224), "crop_pct": 1.0, "crop_mode": "border", "interpolation": "bicubic"}
    with pytest.raises(ClassifierError, match="`crop_mode`: expected center or squash, got border"):
        preprocessing_of_timm(data)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "file", "normalisation", "least"),
    [
        ("timm:mobilenetv2_100?pad_type=same", "imagenet_mobilenetv2_100", Normalisation((0.5,) * 3, (0.5,) * 3), 0.75),
        ("torchvision:squeezenet1_0", "imagenet_squeezenet1_0", None, 0.5),
    ],
)
def test_shared_classifiers_know_the_shared_photographs(shared_data, architecture, file, normalisation, least):
    weights = shared_data / "classifiers" / f"{file}.safetensors"
    loaded = load_classifier(ModelSource(architecture, weights, normalisation=normalisation))
    assert loaded.classifier.num_classes == 1000
    images = load_data(f"folder:{shared_data / 'imagenet_samples'}", DataRequest(loaded.preprocessing)).train
    with torch.no_grad():
        right = [
            loaded.classifier(x).argmax(dim=1) == y
            for x, y in batches(Subset(images, range(0, 1000, 10)), batch_size=20)
        ]
    assert torch.cat(right).float().mean() > least
