"""JiT against the authors' own step: three batches, with the same noise."""

import math
from dataclasses import replace

import pytest
import torch
from golden_net import assert_same_change, make_classifier, make_forget_set, read_golden, spread

from expunge.methods.published import jit
from expunge.methods.published.jit import JiT
from expunge.methods.unlearn import unlearn
from expunge.models.modes import BatchNormMode
from expunge.training import trainer


def noise_of(shape, offset):
    """Return numbers of mean 0 and deviation 1, as the authors' code was given them."""
    drawn = (2 * spread(math.prod(shape), offset) - 1) * math.sqrt(3)
    return drawn.to(torch.float32).view(shape)


@pytest.mark.parametrize(("name", "mode"), [("jit", BatchNormMode.FROZEN), ("jit-training-mode", BatchNormMode.BATCH)])
def test_the_step_is_the_authors(monkeypatch, name, mode):
    golden = read_golden(name)
    offsets = iter(golden["draws"]["noise_offsets"])
    monkeypatch.setattr(jit, "draw_noise", lambda shape, generator: noise_of(shape, next(offsets)))
    order = [torch.tensor(rows) for rows in golden["draws"]["batches"]]
    monkeypatch.setattr(trainer, "draw_batches", lambda count, batch_size, generator: order)
    training = replace(JiT().training, learning_rate=golden["settings"]["learning_rate"], batchnorm=mode)
    method = JiT(
        perturbations=golden["settings"]["perturbations"], sigma=golden["settings"]["sigma"], training=training
    )
    assert_same_change(unlearn(make_classifier(), make_forget_set(), method=method).classifier, golden)
