import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import nn

from expunge.base.errors import ExpungeError
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.least_change import quadratic
from expunge.methods.least_change.curvature import compute_whitening
from expunge.methods.least_change.jacobian import Constraints, HeldJacobian, OutOfTime
from expunge.methods.least_change.quadratic import _approach, solve_multipliers
from expunge.methods.tracing import find_layers
from expunge.models.classifier import Classifier
from expunge.task.goals import Misclassify


def draw(count, dimensions, seed):
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
    return jacobian, torch.randn(count, generator=generator, dtype=torch.float64)


def compute_duality_gap(gram, shortfall, multipliers):
    """Return primal minus dual objective of the step that `multipliers` make, plus its largest violation; 0 is optimal.

    Primal: 1/2 |d|^2 with d = -J'l, which is 1/2 l'Kl. Dual: s'l - 1/2 l'Kl.
    """
    matrix, target, chosen = gram.double(), shortfall.double(), multipliers.double()
    energy = chosen @ matrix @ chosen
    violation = (target - matrix @ chosen).clamp_min(0).max()
    return float((energy - target @ chosen).abs() + violation)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_equals_nonnegative_least_squares_and_closes_the_duality_gap(count, seed):
    jacobian, shortfall = draw(count, count + 5, seed)
    gram = jacobian @ jacobian.T
    multipliers = solve_multipliers(gram, shortfall, ridge=0.0)
    factor = np.linalg.cholesky(gram.numpy())
    expected, _ = nnls(factor.T, np.linalg.solve(factor, shortfall.numpy()))
    np.testing.assert_allclose(multipliers.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert compute_duality_gap(gram, shortfall, multipliers) < 1e-6
    assert bool((multipliers >= 0).all())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_more_constraints_than_dimensions_still_end(seed):
    jacobian, shortfall = draw(60, 7, seed)
    gram = jacobian @ jacobian.T
    multipliers = solve_multipliers(gram, shortfall, ridge=1e-4)
    assert bool(torch.isfinite(multipliers).all())
    regularised = gram + 1e-4 * gram.diagonal().mean() * torch.eye(60, dtype=torch.float64)
    assert compute_duality_gap(regularised, shortfall, multipliers) < 1e-5 * float(multipliers.abs().max() + 1)


def test_a_thousand_constraints():
    jacobian, shortfall = draw(1000, 1500, 0)
    gram = jacobian @ jacobian.T
    multipliers = solve_multipliers(gram, shortfall)
    assert compute_duality_gap(gram, shortfall, multipliers) < 1e-2


def test_nothing_to_do_is_no_step():
    assert solve_multipliers(torch.eye(3), torch.tensor([-1.0, -2.0, 0.0])).tolist() == [0.0, 0.0, 0.0]


def test_what_is_not_finite_is_refused():
    with pytest.raises(ExpungeError, match="finite inner products"):
        solve_multipliers(torch.eye(2), torch.tensor([1.0, float("nan")]))


def test_the_gap_sees_a_wrong_answer():
    assert compute_duality_gap(torch.eye(2), torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.5])) > 0.1


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 60), dimensions=st.integers(1, 60), seed=st.integers(0, 10_000))
def test_the_interior_point_comes_near_the_solution_whatever_contradicts(count, dimensions, seed):
    jacobian, shortfall = draw(count, dimensions, seed)
    gram = jacobian @ jacobian.T
    matrix = gram + 1e-4 * gram.diagonal().mean() * torch.eye(count, dtype=torch.float64)
    near = _approach(matrix, shortfall, lambda: False)
    assert bool((near > 0).all())
    assert compute_duality_gap(matrix, shortfall, near) < 1e-6 * float(near.max() + 1)


def make_contradicting_rows():
    """Return what 600 rows with random labels ask of a network of 275 weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
        classifier = Classifier.wrap(nn.Sequential(*layers), num_classes=3)
    generator = torch.Generator().manual_seed(1)
    x, labels = torch.rand(600, 3, 8, 8, generator=generator), torch.randint(3, (600,), generator=generator)
    context, found = Context(Runtime()), find_layers(classifier, x)
    whitening = compute_whitening(classifier, found, x[:40], damping=0.01, generator=generator, context=context)
    jacobian = HeldJacobian(Constraints(classifier, found, whitening, Misclassify().gap, x, labels), context)
    return jacobian.gram().double(), (jacobian.gaps + 0.3).double()


def test_contradicting_rows_take_few_solutions(monkeypatch):
    """Exchanging blocks goes round in a circle there, and exchanging one row at a time takes tens of thousands."""
    gram, shortfall = make_contradicting_rows()
    matrix = gram + 1e-4 * gram.diagonal().mean() * torch.eye(600, dtype=torch.float64)
    assert not quadratic._exchange(matrix, shortfall, shortfall > 0, lambda: False)[1]
    solved, solve_tight = [], quadratic._solve_tight
    monkeypatch.setattr(quadratic, "_solve_tight", lambda *given: solved.append(1) or solve_tight(*given))
    multipliers = solve_multipliers(gram, shortfall, ridge=1e-4)
    assert compute_duality_gap(matrix, shortfall, multipliers) < 1e-5 * float(multipliers.max() + 1)
    assert len(solved) <= 2 * quadratic.MOST_SOLVES


@pytest.mark.parametrize("solutions", [0, 1, 20])
def test_where_time_is_over_no_multipliers_are_returned_that_are_none(solutions):
    asked = iter(range(solutions))
    gram, shortfall = make_contradicting_rows()
    with pytest.raises(OutOfTime):
        solve_multipliers(gram, shortfall, ridge=1e-4, expired=lambda: next(asked, None) is None)


def test_a_singular_system_has_a_solution():
    gram = torch.ones(3, 3)
    multipliers = solve_multipliers(gram, torch.ones(3), ridge=0.0)
    torch.testing.assert_close(gram @ multipliers, torch.ones(3))
