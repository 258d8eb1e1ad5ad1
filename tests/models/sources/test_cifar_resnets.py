import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource, load_classifier
from expunge.models.sources.cifar_resnets import ARCHITECTURES, CifarResNet

HALF = {"normalisation": Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))}


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85)]
)
def test_sizes_are_the_papers(name, millions):
    count = sum(parameter.numel() for parameter in ARCHITECTURES[name](10).parameters())
    assert round(count / 1e6, 2) == millions


def test_layers_are_as_deep_as_the_name_says():
    network = ARCHITECTURES["resnet110"](10)
    layers = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 110


def test_shortcut_takes_every_second_pixel_and_pads_half_on_each_side():
    block = CifarResNet(3, 10).eval().layer2[0]
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(3, 16, 6, 8)
    expected = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    assert torch.equal(block(x), expected)


@pytest.mark.parametrize("batch", [1, 3])
def test_round_trip_through_a_file(tmp_path, batch):
    network = ARCHITECTURES["resnet20"](7).eval()
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    loaded = load_classifier(ModelSource("cifar:resnet20", tmp_path / "a.safetensors", **HALF))
    x = torch.rand(batch, 3, 16, 24)
    assert loaded.classifier.num_classes == 7
    assert torch.allclose(loaded.classifier(x), network((x - 0.5) / 0.25), atol=1e-6)
    assert not any(module.training for module in loaded.classifier.module.modules())
    assert loaded.architecture == "cifar:resnet20"
    assert loaded.weights_sha256 == loaded.classifier.sha256()


def test_random_networks_warn():
    with pytest.warns(ExpungeWarning, match=r"cifar:resnet20 has random weights: pass --weights"):
        loaded = load_classifier(ModelSource("cifar:resnet20", num_classes=4, **HALF))
    assert loaded.classifier.num_classes == 4


def test_weights_that_are_not_finite_are_refused(tmp_path):
    state = ARCHITECTURES["resnet20"](10).state_dict()
    state["linear.bias"][0] = torch.nan
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ClassifierError, match=r"linear\.bias`: expected finite weights"):
        load_classifier(ModelSource("cifar:resnet20", tmp_path / "a.safetensors", **HALF))


def test_weights_of_another_depth_are_refused(tmp_path):
    save_file(ARCHITECTURES["resnet32"](10).state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(ClassifierError, match=r"expected the weights of this architecture, got \d+ surplus"):
        load_classifier(ModelSource("cifar:resnet20", tmp_path / "a.safetensors", **HALF))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (ModelSource("cifar:resnet21", **HALF), "expected one of resnet20, resnet32.*got resnet21"),
        (ModelSource("cifar:resnet20?a=1", **HALF), r"expected no options, got \?a; only timm: and torchvision:"),
        (ModelSource("cifar:resnet20", "pretrained", **HALF), "there is nothing to download for cifar:"),
    ],
)
def test_wrong_sources_are_named(source, words):
    with pytest.raises(ClassifierError, match=words):
        load_classifier(source)


def test_mean_and_std_are_never_guessed(tmp_path):
    save_file(ARCHITECTURES["resnet20"](10).state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(ClassifierError, match="none: cifar:resnet20 does not say; pass --mean and --std"):
        load_classifier(ModelSource("cifar:resnet20", tmp_path / "a.safetensors"))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "classes"),
    [
        ("resnet20", "cifar10_resnet20", 10),
        ("resnet32", "cifar10_resnet32", 10),
        ("resnet20-bottleneck-stem", "cifar100_resnet20", 100),
    ],
)
def test_shared_classifiers_load(shared_data, name, file, classes):
    path = shared_data / "classifiers" / f"{file}.safetensors"
    loaded = load_classifier(ModelSource(f"cifar:{name}", path, **HALF))
    assert loaded.classifier(torch.rand(3, 3, 32, 32)).shape == (3, classes)
    assert loaded.classifier.network.state_dict().keys() >= load_file(path).keys()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "normalisation", "least"),
    [
        ("resnet20", "cifar10_resnet20", Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 0.88),
        (
            "resnet20-bottleneck-stem",
            "cifar100_resnet20",
            Normalisation((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
            0.62,
        ),
    ],
)
def test_shared_classifiers_are_as_accurate_as_measured(shared_data, shared_tiles, name, file, normalisation, least):
    path = shared_data / "classifiers" / f"{file}.safetensors"
    loaded = load_classifier(ModelSource(f"cifar:{name}", path, normalisation=normalisation))
    x, y = shared_tiles(file.partition("_")[0])
    with torch.no_grad():
        accuracy = (loaded.classifier(x).argmax(dim=1) == y).float().mean().item()
    assert accuracy > least


@pytest.mark.parametrize(
    ("name", "weights", "map_side"),
    [
        ("resnet18", 11_173_962, 4),
        ("resnet50", 23_520_842, 4),
        ("mobilenetv2", 2_236_682, 4),
        ("densenet121", 6_956_426, 4),
        ("squeezenet", 727_626, 4),
        ("vit-ti", 5_362_762, None),
    ],
)
def test_networks_made_for_small_images(name, weights, map_side):
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")
    network = ARCHITECTURES[name](10).eval()
    assert sum(weight.numel() for weight in network.parameters()) == weights
    sides = []
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda part, inputs, output: sides.append(output.shape[-1]))
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 32)).shape == (1, 10)
    assert sides[0] == (8 if map_side is None else 32)
    assert map_side is None or sides[-1] == map_side
