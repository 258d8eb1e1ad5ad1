import pytest
import torch
import torch.nn.functional as F

from expunge.base.errors import SettingsError
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.methods.published.zs_pag import (
    choose_labels,
    differentiate_pool,
    find_subspaces,
    leave_out,
    rate_labels,
    span,
)
from expunge.methods.tracing import find_layers
from expunge.methods.unlearn import make_method, unlearn
from expunge.surrogates.adversarial import AdversarialPool
from expunge.surrogates.attack import Attack
from expunge.task.task import Limits

QUICK = {"attack": {"targets_per_row": 2, "radius": 0.5, "step_size": 0.2, "steps": 2}, "energy": 0.9}


@pytest.fixture
def pool(trained, other_images):
    """Return twenty images in the place of adversarial examples."""
    x, labels = other_images
    with torch.no_grad():
        return AdversarialPool(x, labels, trained(x))


def gradient_of(classifier, x, label):
    """Return the gradient of one image's cross-entropy in eval mode, all weights in one vector."""
    weights = list(classifier.module.parameters())
    loss = F.cross_entropy(classifier(x.unsqueeze(0)), torch.tensor([label]))
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, weights)])


def test_the_label_is_the_one_whose_learning_the_stand_ins_gain_most_from(trained, rows, pool):
    """Held against the definition: the inner product of each label's gradient with the stand-ins' mean gradient."""
    stand_ins = sum(gradient_of(trained, x, int(trained(x.unsqueeze(0)).argmax())) for x in pool.x) / len(pool.x)
    gradient = differentiate_pool(trained, pool, Context(Runtime()))
    torch.testing.assert_close(torch.cat([each.flatten() for each in gradient.values()]), stand_ins)
    chosen = choose_labels(rate_labels(trained, rows.x, gradient, Sharing(4)), rows.y)
    for x, y, label in zip(rows.x, rows.y.tolist(), chosen.tolist(), strict=True):
        gains = [float(gradient_of(trained, x, other) @ stand_ins) for other in range(5)]
        gains[y] = -float("inf")
        assert label == max(range(5), key=gains.__getitem__)


def test_ratings_are_derivatives_of_the_logits(trained, rows, pool):
    gradient = differentiate_pool(trained, pool, Context(Runtime()))
    rated = rate_labels(trained, rows.x, gradient, Sharing(2))
    step, (ahead, behind) = (
        1e-2 / max(float(each.norm()) for each in gradient.values()),
        (trained.copy(), trained.copy()),
    )
    with torch.no_grad():
        for twin, length in ((ahead, step), (behind, -step)):
            for name, weight in twin.module.named_parameters():
                weight.add_(gradient[name], alpha=length)
        expected = (ahead(rows.x) - behind(rows.x)) / (2 * step)
    torch.testing.assert_close(rated, expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


@pytest.mark.parametrize("energy", [0.0, 0.5, 0.9, 0.99, 1.0])
def test_a_basis_holds_the_energy_with_as_few_directions_as_it_takes(energy):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=generator) * torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.1])
    moment = (inputs.T @ inputs / 200).unsqueeze(0)
    basis = span(moment, energy)[0]
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-5, rtol=0)
    shares = torch.linalg.eigvalsh(moment[0]).flip(0).cumsum(0) / moment[0].trace()
    needed = 0 if energy == 0 else int((shares < energy - 1e-6).sum()) + 1
    assert abs(basis.shape[1] - needed) <= (energy == 1.0)


def test_a_step_changes_nothing_for_inputs_within_the_subspace():
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(1, 7, 3, generator=generator))[0]
    gradient = torch.randn(1, 4, 7, generator=generator)
    within = basis @ torch.randn(1, 3, 5, generator=generator)
    left = leave_out(gradient, basis)
    torch.testing.assert_close(left @ within, torch.zeros(1, 4, 5), atol=1e-5, rtol=0)
    outside = torch.linalg.qr(torch.cat([basis[0], torch.randn(7, 4, generator=generator)], dim=1))[0][:, 3:]
    torch.testing.assert_close(left[0] @ outside, gradient[0] @ outside)


def test_subspaces_are_those_of_the_layers_own_inputs(trained, pool):
    layers = find_layers(trained, pool.x)
    subspaces = find_subspaces(trained, layers, pool, 0.9, Sharing(4))
    features = trained.network[:8]((pool.x - 0.5) / 0.25).detach()
    inputs = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    expected = span((inputs.T @ inputs / len(inputs)).unsqueeze(0), 0.9)[0]
    found = subspaces[-1][0]
    torch.testing.assert_close(found @ found.T, expected @ expected.T, atol=1e-4, rtol=0)


def test_answers_move_less_where_more_energy_is_spared(trained, rows):
    """The same number of steps at the same rate: the more of the moment is spared, the less answers move."""
    changes = []
    for energy in (0.0, 0.999):
        method = make_method("zs-pag", {**QUICK, "energy": energy, "learning_rate": 0.01})
        edit = unlearn(trained, rows, method=method, limits=Limits(steps=5))
        with torch.no_grad():
            changes.append(float((edit.classifier(rows.x) - trained(rows.x)).norm()))
    assert changes[1] < 0.5 * changes[0]


def test_statistics_of_batchnorm_and_its_weights_stay(trained, rows):
    edit = unlearn(trained, rows, method=make_method("zs-pag", QUICK))
    before, after = trained.network.state_dict(), edit.classifier.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"0.weight", "0.bias", "3.weight", "8.weight", "8.bias"}


def test_without_stand_ins_it_is_refused(trained, rows):
    with pytest.raises(SettingsError, match=r"attack\.targets_per_row.*at least 1"):
        unlearn(trained, rows, method=make_method("zs-pag", {"attack": {"targets_per_row": 0}}))


def test_attack_is_that_of_the_paper_of_l2ul():
    assert make_method("zs-pag").attack == Attack()
