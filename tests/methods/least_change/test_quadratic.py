import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from expunge.base.errors import ExpungeError
from expunge.methods.least_change.quadratic import compute_duality_gap, solve_multipliers


def draw(count, dimensions, seed):
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
    return jacobian, torch.randn(count, generator=generator, dtype=torch.float64)


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
