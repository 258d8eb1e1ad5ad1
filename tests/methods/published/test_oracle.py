import pytest
import torch
import torch.nn.functional as F

from expunge.methods.descent import Descent
from expunge.methods.published.oracle import Oracle
from expunge.methods.unlearn import unlearn
from expunge.task.goals import Relabel
from expunge.task.task import Limits, StopReason

ONE_BATCH = Descent(learning_rate=0.01, momentum=0.0, forget_batch=6)


def test_the_first_losses_are_those_of_both_parts(trained, rows, retain):
    edit = unlearn(
        trained, rows, method=Oracle(retain_batch=20, descent=ONE_BATCH), retain=retain, limits=Limits(steps=1)
    )
    losses = edit.trace[0].losses
    assert losses["unlearning"] == pytest.approx(-F.cross_entropy(trained(rows.x), rows.y).item(), rel=1e-4)
    assert losses["retain"] == pytest.approx(F.cross_entropy(trained(retain.pixels), retain.labels).item(), rel=1e-4)


def test_the_step_goes_down_on_retain_data_and_up_on_the_rows(trained, rows, retain):
    method = Oracle(retain_batch=20, descent=ONE_BATCH)
    edit = unlearn(trained, rows, method=method, retain=retain, limits=Limits(steps=2))
    twin = trained.copy()
    total = F.cross_entropy(twin(retain.pixels), retain.labels) - F.cross_entropy(twin(rows.x), rows.y)
    gradients = torch.autograd.grad(total, list(twin.module.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(twin.module.parameters(), gradients, strict=True):
            weight.sub_(0.01 * gradient)
    kept, lost = F.cross_entropy(twin(retain.pixels), retain.labels), F.cross_entropy(twin(rows.x), rows.y)
    assert edit.trace[1].losses["retain"] == pytest.approx(kept.item(), rel=1e-4)
    assert edit.trace[1].losses["unlearning"] == pytest.approx(-lost.item(), rel=1e-4)


def test_it_relabels_too(trained, relabelled, retain):
    few = relabelled.rows([0, 1, 5])
    edit = unlearn(trained, few, method="oracle", goal=Relabel(), retain=retain)
    assert edit.stop_reason is StopReason.GOAL_REACHED
