import warnings

import pytest
import torch
from torch import nn

from expunge.base.errors import ExpungeWarning
from expunge.models.sources.names import align

OWN = ("stem.weight", "stem.num_batches_tracked", "head.weight", "head.bias")


def tensors(*names):
    return {name: torch.ones(2) for name in names}


def quietly(weights, own=OWN):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return set(align(weights, own, place="a.pt"))


@pytest.mark.parametrize(
    "before", ["", "model.", "module.", "_orig_mod.", "model._orig_mod.", "net.backbone.", "module.model.module."]
)
def test_what_stands_before_all_names_is_taken_off(before):
    assert quietly(tensors(*(before + name for name in OWN))) == set(OWN)


def test_wrappers_around_a_part_are_taken_off():
    weights = tensors("stem._orig_mod.weight", "head.module.weight", "head.module.bias")
    assert quietly(weights) == {"stem.weight", "head.weight", "head.bias"}


@pytest.mark.parametrize("before", ["module.", "_orig_mod."])
def test_a_beginning_that_the_network_has_stays(before):
    own = [before + name for name in OWN]
    assert quietly(tensors(*own), own) == set(own)
    assert quietly(
        tensors(*(f"module.{name}" if before == "module." else f"model.{name}" for name in own)), own
    ) == set(own)


def test_losses_and_metrics_beside_the_network_are_left_out_with_a_note():
    weights = tensors(*(f"model.{name}" for name in OWN), "criterion.weight", "train_acc.correct")
    with pytest.warns(ExpungeWarning, match=r"a\.pt: 2 entries are no part .*: criterion\.weight, train_acc\.correct"):
        assert set(align(weights, OWN, place="a.pt")) == set(OWN)


def test_a_network_that_is_the_trainers_own_module_has_them_left_out_too():
    weights = tensors(*OWN, "loss_fn.weight", "val_f1.total", "stem.total_ops", "n_averaged")
    with pytest.warns(ExpungeWarning, match=r"a\.pt: 4 entries"):
        assert set(align(weights, OWN, place="a.pt")) == set(OWN)


def test_layers_that_the_network_lacks_are_not_left_out():
    assert quietly(tensors(*OWN, "layer4.weight")) == {*OWN, "layer4.weight"}


def test_of_several_networks_the_one_that_was_trained_is_taken_and_said():
    weights = tensors(*(f"ema_model.{name}" for name in OWN), *(f"student.{name}" for name in OWN))
    weights["student.head.bias"] = torch.zeros(2)
    with pytest.warns(ExpungeWarning) as notes:
        found = align(weights, OWN, place="a.pt")
    assert torch.equal(found["head.bias"], torch.zeros(2))
    first = str(notes[0].message)
    assert "several networks of these names: student, ema_model; the first was taken" in first
    assert "--weights-key ema_model takes another" in first


def test_names_of_another_network_stay_as_they_are():
    weights = tensors("a.weight", "b.weight", "c.bias", "model.head.bias")
    assert quietly(weights) == set(weights)


def test_weights_of_lazily_named_modules():
    network = nn.Linear(2, 2)
    assert quietly(tensors("fc.weight", "fc.bias"), network.state_dict()) == {"weight", "bias"}
