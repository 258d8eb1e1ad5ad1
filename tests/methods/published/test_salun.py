from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.published import salun
from expunge.methods.published.salun import SalUn, find_salient
from expunge.methods.unlearn import unlearn
from expunge.training import Algorithm, Augmentation, Training


@pytest.mark.parametrize("algorithm", Algorithm)
def test_masked_weights_are_bit_identical_after_momentum_and_weight_decay(trained, rows, retain, algorithm):
    training = Training(
        epochs=3,
        batch_size=8,
        momentum=0.9,
        weight_decay=0.1,
        algorithm=algorithm,
        augmentation=Augmentation.NONE,
    )
    edit = unlearn(trained, rows, method=SalUn(training=training), retain=retain)
    salient = find_salient(trained, rows, 0.5, Context(Runtime()))
    before, after = (dict(each.module.named_parameters()) for each in (trained, edit.classifier))
    moved = 0
    for name, mask in salient.items():
        assert torch.equal(after[name][~mask], before[name][~mask]), name
        moved += int((after[name][mask] != before[name][mask]).sum())
    assert moved > 0.9 * sum(int(mask.sum()) for mask in salient.values())


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_salient_weights_are_those_with_the_largest_gradients(trained, rows, share):
    salient = find_salient(trained, rows, share, Context(Runtime(batch_size=4)))
    twin = trained.copy()
    F.cross_entropy(twin(rows.x), rows.y, reduction="sum").backward()
    sizes = torch.cat([weight.grad.abs().flatten() for weight in twin.module.parameters()])
    mask = torch.cat([mask.flatten() for mask in salient.values()])
    assert int(mask.sum()) == int(share * len(mask))
    if share < 1:
        assert sizes[mask].min() >= 0.999 * sizes[~mask].max()


def test_the_share_is_one_threshold_over_all_weights_not_one_a_layer(trained, rows):
    salient = find_salient(trained, rows, 0.5, Context(Runtime()))
    shares = [mask.float().mean().item() for mask in salient.values()]
    assert max(shares) - min(shares) > 0.2


def test_the_mask_is_that_of_the_rows_as_they_are_trained_on(trained, rows, retain, monkeypatch):
    monkeypatch.setattr(salun, "augment", lambda x, *others: x.flip(2))
    edit = unlearn(trained, rows, method=SalUn(training=Training(epochs=1, batch_size=8)), retain=retain)
    before, after = (dict(each.module.named_parameters()) for each in (trained, edit.classifier))
    salient = find_salient(trained, replace(rows, x=rows.x.flip(2)), 0.5, Context(Runtime()))
    assert all(torch.equal(after[name][~mask], before[name][~mask]) for name, mask in salient.items())
    others = find_salient(trained, rows, 0.5, Context(Runtime()))
    assert not all(torch.equal(after[name][~mask], before[name][~mask]) for name, mask in others.items())
