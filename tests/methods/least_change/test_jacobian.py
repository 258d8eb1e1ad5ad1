import pytest
import torch

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.layers import count_weights
from expunge.methods.least_change.curvature import compute_whitening
from expunge.methods.least_change.jacobian import Constraints, HeldJacobian, RecomputedJacobian, make_jacobian
from expunge.methods.tracing import find_layers
from expunge.task.goals import Misclassify, Relabel


@pytest.fixture
def context():
    return Context(Runtime(batch_size=4))


def constrain(classifier, rows, goal, context):
    layers = find_layers(classifier, rows.x)
    generator = torch.Generator().manual_seed(0)
    whitening = compute_whitening(classifier, layers, rows.x, damping=0.1, generator=generator, context=context)
    labels = goal.labels(rows, classifier.num_classes, generator)
    return Constraints(classifier, layers, whitening, goal.gap, rows.x, labels)


@pytest.mark.parametrize("goal", [Misclassify(), Relabel()])
def test_a_short_step_moves_the_gaps_as_the_jacobian_says(classifier, rows, context, goal):
    classifier.module.double().eval()
    rows = ForgetSet(rows.ids, rows.x.double(), rows.y)
    constraints = constrain(classifier, rows, goal, context)
    jacobian = make_jacobian(constraints, memory_bytes=2**30, context=context)
    torch.testing.assert_close(jacobian.gaps, goal.gap(classifier(rows.x), constraints.labels).detach())
    generator = torch.Generator().manual_seed(1)
    step = [1e-7 * torch.randn(layer.shape, generator=generator, dtype=torch.float64) for layer in constraints.layers]
    for number, layer in enumerate(constraints.layers):
        layer.write(layer.read() + constraints.whitening.apply(number, step[number]))
    moved = goal.gap(classifier(rows.x), constraints.labels).detach() - jacobian.gaps
    torch.testing.assert_close(moved, jacobian.times(step), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("block", [1, 2, 4])
def test_held_and_recomputed_are_the_same(classifier, rows, context, block):
    constraints = constrain(classifier, rows, Misclassify(), context)
    held, anew = HeldJacobian(constraints, context), RecomputedJacobian(constraints, block, context)
    step = [torch.ones(layer.shape) for layer in constraints.layers]
    multipliers = torch.linspace(0, 1, len(rows))
    torch.testing.assert_close(anew.gaps, held.gaps)
    torch.testing.assert_close(anew.gram(), held.gram(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(anew.times(step), held.times(step), rtol=1e-4, atol=1e-4)
    for one, other in zip(anew.combine(multipliers), held.combine(multipliers), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_gram_times_and_combine_fit_each_other(classifier, rows, context):
    jacobian = HeldJacobian(constrain(classifier, rows, Misclassify(), context), context)
    multipliers = torch.linspace(-1, 1, len(rows))
    torch.testing.assert_close(
        jacobian.times(jacobian.combine(multipliers)), jacobian.gram() @ multipliers, rtol=1e-4, atol=1e-4
    )


def test_the_memory_budget_chooses_the_form(classifier, rows, context):
    constraints = constrain(classifier, rows, Misclassify(), context)
    needed = count_weights(constraints.layers) * 4 * len(rows)
    assert isinstance(make_jacobian(constraints, memory_bytes=needed, context=context), HeldJacobian)
    assert isinstance(make_jacobian(constraints, memory_bytes=needed - 1, context=context), RecomputedJacobian)
    assert isinstance(make_jacobian(constraints, memory_bytes=1, context=context), RecomputedJacobian)


def test_no_multipliers_are_no_step(classifier, rows, context):
    anew = RecomputedJacobian(constrain(classifier, rows, Misclassify(), context), 2, context)
    assert all(not bool(part.any()) for part in anew.combine(torch.zeros(len(rows))))
