import pytest
import torch
import torch.nn.functional as F

from expunge.methods.published.neggrad_plus import NegGradPlus
from expunge.methods.unlearn import unlearn


def test_the_step_goes_down_on_retain_data_and_up_on_the_rows(trained, rows, retain, plain_training, weights_of):
    method = NegGradPlus(retain_share=0.8, training=plain_training())
    edit = unlearn(trained, rows, method=method, retain=retain)
    twin = trained.copy()
    kept, lost = (F.cross_entropy(twin(x), y) for x, y in ((retain.pixels, retain.labels), (rows.x, rows.y)))
    total = 0.8 * kept - 0.2 * lost
    gradients = torch.autograd.grad(total, list(twin.module.parameters()))
    expected = weights_of(trained) - 0.01 * torch.cat([gradient.flatten() for gradient in gradients])
    torch.testing.assert_close(weights_of(edit.classifier), expected, atol=1e-6, rtol=1e-5)
    assert edit.trace[0].losses["forget"] == pytest.approx(-0.2 * lost.item(), rel=1e-4)
    assert edit.cost.gradient_evaluations == 26
