"""Checkpoints as people save them, each read by `read_weights` and `fill`."""

import argparse
import copy
import datetime
import pathlib
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.models.sources.checkpoint import read_weights
from expunge.models.sources.weights import fill


def shifted(network, by):
    """Return a copy of a network whose weights are other ones."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(by)
    return other


def loads(path, wanted, key=None):
    """Return whether the file fills a network with the weights of `wanted`."""
    network = shifted(wanted, 1.0)
    fill(network, read_weights(path, key), place=path.name)
    return all(torch.equal(network.state_dict()[name], tensor) for name, tensor in wanted.state_dict().items())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ckpt"


def test_settings_of_a_trainer_are_passed_over_without_running_anything(small_network, path):
    content = {
        "arch": "small",
        "state_dict": small_network.state_dict(),
        "args": argparse.Namespace(lr=0.1, data=pathlib.Path("images"), nested=argparse.Namespace(a=[1])),
        "metric": np.float64(71.2),
        "best": np.float32(0.5),
        "history": np.ones(3),
        "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "optimizer": torch.optim.Adam(small_network.parameters()).state_dict(),
    }
    content.pop("when")  # its time zone is an object of its own
    torch.save(content, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loads(path, small_network)


def test_an_optimiser_that_has_stepped_is_no_network(small_network, path):
    optimiser = torch.optim.Adam(small_network.parameters())
    small_network(torch.rand(2, 3, 4, 6)).sum().backward()
    optimiser.step()
    torch.save({"net": small_network.state_dict(), "optimizer": optimiser.state_dict(), "acc": 91.2, "epoch": 3}, path)
    assert loads(path, small_network)


def test_of_a_network_and_its_average_it_is_said_which_is_taken(small_network, path):
    average = shifted(small_network, 2.0)
    torch.save({"model": small_network.state_dict(), "model_ema": average.state_dict()}, path)
    with pytest.warns(
        ExpungeWarning, match=r"a\.ckpt holds several states: model, model_ema; model was taken, --weigh"
    ):
        assert loads(path, small_network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loads(path, average, "model_ema")
        assert loads(path, small_network, "model")


def test_a_key_of_a_state_within_another(small_network, path):
    average = shifted(small_network, 2.0)
    content = {"state_dict": small_network.state_dict(), "callbacks": {"EMA": average.state_dict()}}
    torch.save(content, path)
    assert loads(path, average, "callbacks.EMA")


def test_a_key_that_is_not_there(small_network, path):
    torch.save({"model": small_network.state_dict()}, path)
    with pytest.raises(ClassifierError, match=r"`weights_key`: expected one of model, 0, 1, 3, as in .*, got ema"):
        read_weights(path, "ema")


def test_a_key_may_be_what_the_names_begin_with(small_network, tmp_path):
    both = {f"student.{name}": tensor for name, tensor in small_network.state_dict().items()}
    teacher = shifted(small_network, 2.0)
    both |= {f"teacher.{name}": tensor for name, tensor in teacher.state_dict().items()}
    save_file(both, tmp_path / "a.safetensors")
    assert loads(tmp_path / "a.safetensors", teacher, "teacher")
    with pytest.warns(ExpungeWarning):
        assert loads(tmp_path / "a.safetensors", small_network)


def test_stochastic_weight_averaging(small_network, path):
    torch.save(torch.optim.swa_utils.AveragedModel(small_network).state_dict(), path)
    with pytest.warns(ExpungeWarning, match=r"1 entries are no part of the network and were left out: n_averaged"):
        assert loads(path, small_network)


def test_lightning(small_network, path):
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.criterion = small_network, nn.CrossEntropyLoss(weight=torch.ones(3))

    content = {
        "state_dict": Module().state_dict(),
        "hyper_parameters": {"lr": 0.1},
        "pytorch-lightning_version": "2.6",
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.9), "path": "a"}},
    }
    torch.save(content, path)
    with pytest.warns(ExpungeWarning, match="1 entries .*: criterion.weight"):
        assert loads(path, small_network)


def test_extra_state_of_a_layer_is_passed_over(small_network, path):
    torch.save({**small_network.state_dict(), "0._extra_state": {"classes": ["a"]}}, path)
    assert loads(path, small_network)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_a_traced_network_is_refused_with_the_way_that_works(small_network, path):
    torch.jit.trace(small_network.eval(), torch.rand(1, 3, 4, 6)).save(path)
    with pytest.raises(ClassifierError, match=r"expected weights, got a traced .*torch\.jit\.load\(FILE\)\.state_dict"):
        read_weights(path)


def test_a_whole_network_is_refused_by_its_name_with_the_way_that_works(small_network, path):
    torch.save({"model": small_network}, path)
    words = r"got pickled objects \(torch\.nn\.[\w.]+\), which could run code; .*model\.state_dict\(\)"
    with pytest.raises(ClassifierError, match=words):
        read_weights(path)


def test_an_object_that_only_bears_an_allowed_name_does_nothing(path, monkeypatch):
    """A file says `argparse.Namespace(...)`: nothing of that module is called."""
    torch.save({"args": argparse.Namespace(lr=0.1), "w": torch.ones(2)}, path)
    monkeypatch.setattr(argparse, "Namespace", None)
    with pytest.raises(ClassifierError, match=r"expected a state dict, .*got args, w"):
        read_weights(path)
