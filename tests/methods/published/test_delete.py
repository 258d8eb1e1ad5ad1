import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from expunge.methods.published.delete import divergence, mask_labels
from expunge.methods.unlearn import make_method, unlearn
from expunge.task.task import Limits


@given(st.integers(2, 9), st.integers(0, 1000), st.floats(0.1, 300))
def test_the_target_gives_the_label_no_mass_and_the_others_their_proportions(classes, seed, size):
    generator = torch.Generator().manual_seed(seed)
    logits = size * torch.randn(4, classes, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (4,), generator=generator)
    target = mask_labels(logits, y)
    assert torch.equal(target[torch.arange(4), y], torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(target.sum(dim=1), torch.ones(4, dtype=torch.float64))
    others = torch.stack([torch.cat([row[:label], row[label + 1 :]]) for row, label in zip(logits, y, strict=True)])
    kept = torch.stack([torch.cat([row[:label], row[label + 1 :]]) for row, label in zip(target, y, strict=True)])
    torch.testing.assert_close(kept, others.softmax(dim=1))


def test_the_loss_is_the_divergence_and_finite_where_the_target_is_0():
    logits = torch.tensor([[2.0, 0.0, -1.0]], requires_grad=True)
    wanted = torch.tensor([[0.0, 0.7, 0.3]])
    loss = divergence(logits, wanted)
    p = logits.detach().softmax(dim=1)[0]
    expected = 0.7 * (0.7 / p[1]).log() + 0.3 * (0.3 / p[2]).log()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient[0], p - wanted[0])


def test_the_first_loss_is_that_of_the_old_answers_without_the_label(trained, rows):
    edit = unlearn(
        trained,
        rows,
        method=make_method("delete", {"descent": {"forget_batch": 6, "batchnorm": "frozen"}}),
        limits=Limits(steps=1),
    )
    share = trained(rows.x).softmax(dim=1)[torch.arange(6), rows.y]
    expected = F.softplus(torch.logit(share.double())).mean().item()
    assert edit.trace[0].losses["unlearning"] == pytest.approx(expected, rel=1e-3), "-log(1 - p_y)"
