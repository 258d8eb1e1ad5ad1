"""Random label and SalUn against the authors' own loop: two epochs of rows and then retain data, the same labels."""

import pytest
import torch
from golden_draws import as_in, replay_batches
from golden_net import assert_same_change, make_classifier, make_forget_set, make_net, make_retain, read_golden

from expunge.methods.published import random_label
from expunge.methods.published.random_label import RandomLabel
from expunge.methods.published.salun import SalUn
from expunge.methods.unlearn import unlearn
from expunge.training import trainer


def run(monkeypatch, golden, method):
    draws = golden["draws"]
    passes = [
        batches for both in zip(draws["forget_batches"], draws["retain_batches"], strict=True) for batches in both
    ]
    monkeypatch.setattr(trainer, "draw_batches", replay_batches(passes))
    labels = iter(draws["labels"])
    monkeypatch.setattr(random_label, "draw_labels", lambda count, num_classes, generator: torch.tensor(next(labels)))
    return unlearn(make_classifier(), make_forget_set(), method=method, retain=make_retain()).classifier


@pytest.mark.parametrize("kind", [RandomLabel, SalUn])
def test_the_epochs_are_the_authors(monkeypatch, kind):
    golden = read_golden(kind.name)
    method = kind(training=as_in(golden, kind().training))
    assert golden["settings"]["learning_rate"] == kind().training.learning_rate
    assert_same_change(run(monkeypatch, golden, method), golden)


def test_masked_weights_are_the_authors(monkeypatch):
    golden, before = read_golden("salun"), dict(make_net().named_parameters())
    after = dict(run(monkeypatch, golden, SalUn(training=as_in(golden, SalUn().training))).network.named_parameters())
    for name, weight in before.items():
        theirs = torch.tensor(golden["state"][name], dtype=torch.float64).view(weight.shape)
        stayed = (theirs - weight.double()).abs() <= 1e-7 * weight.double().abs()
        assert torch.equal(after[name] == weight, stayed), name
