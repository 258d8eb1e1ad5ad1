import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource, load_classifier

CODE = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))

def train_mode():
    return make().train()

def half():
    return make().half()

def number():
    return 3

def needs(argument):
    return make()

def empty():
    return nn.Sequential(nn.Flatten())

constant = 3
"""


@pytest.fixture
def my_models(tmp_path, monkeypatch):
    """Write a module of networks into the current folder, and forget it afterwards."""
    (tmp_path / "my_models.py").write_text(CODE)
    (tmp_path / "broken_models.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield tmp_path
    assert sys.path == before
    for name in ("my_models", "broken_models"):
        sys.modules.pop(name, None)


def plain(function, **settings):
    return ModelSource(f"my_models:{function}", normalisation=Normalisation(), **settings)


@pytest.mark.filterwarnings("ignore:the network's weights are float16")
@pytest.mark.parametrize("function", ["make", "train_mode", "half"])
def test_networks_of_functions_are_float32_in_eval_mode(my_models, function):
    loaded = load_classifier(plain(function, class_names=("a", "b", "c", "d", "e")))
    assert loaded.classifier(torch.rand(3, 3, 2, 2)).shape == (3, 5)
    assert loaded.classifier.class_names[4] == "e"
    assert loaded.request().names_given
    assert not load_classifier(plain(function)).request().names_given
    assert not loaded.classifier.module.training
    assert loaded.classifier.network[1].weight.dtype == torch.float32


def test_a_note_says_that_weights_are_made_float32(my_models):
    with pytest.warns(ExpungeWarning, match="the network's weights are float16"):
        load_classifier(plain("half"))


def test_weights_fill_what_the_function_made(my_models):
    weights = {"1.weight": torch.ones(5, 12), "1.bias": torch.arange(5.0)}
    save_file(weights, my_models / "a.safetensors")
    loaded = load_classifier(plain("make", weights=my_models / "a.safetensors"))
    assert loaded.classifier(torch.zeros(1, 3, 2, 2)).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("my_models:number", "expected a function that returns an nn.Module, got int"),
        ("my_models:needs", "expected a function that works without arguments, got TypeError"),
        ("my_models:constant", "expected a function in my_models, got none of that name"),
        ("my_models:gone", "expected a function in my_models, got none of that name"),
        ("my_models:empty", "a module with weights to edit"),
        ("no_such_models:make", r"ModuleNotFoundError.*run from the folder that holds no_such_models\.py"),
        ("broken_models:make", "expected a module that can be imported.*ZeroDivisionError"),
        ("timn:resnet18", "expected a module that can be imported, or timm:, torchvision:, transformers: or cifar:"),
        ("resnet18", "expected timm:NAME, torchvision:NAME, transformers:NAME, cifar:NAME or package.module:function"),
        ("timm:", "or package.module:function, got 'timm:'"),
        ("", "or package.module:function, got ''"),
    ],
)
def test_wrong_functions_are_named(my_models, architecture, words):
    with pytest.raises(ClassifierError, match=words):
        load_classifier(ModelSource(architecture, normalisation=Normalisation()))


def test_mean_and_std_must_be_given(my_models):
    with pytest.raises(ClassifierError, match="none: my_models:make does not say; pass --mean and --std"):
        load_classifier(ModelSource("my_models:make"))


def test_pretrained_makes_no_sense_here(my_models):
    with pytest.raises(ClassifierError, match="expected a file, or none where the function loads its own"):
        load_classifier(plain("make", weights="pretrained"))


def test_wrong_number_of_class_names(my_models):
    with pytest.raises(ClassifierError, match="`class_names`: expected 5 names, got 1"):
        load_classifier(plain("make", class_names=("a",)))


def test_the_module_itself_is_used(my_models):
    assert isinstance(load_classifier(plain("make")).classifier.network, nn.Sequential)
