import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.methods.published.epochs import to_images
from expunge.methods.published.row_gradients import iterate_gradients
from expunge.methods.published.ssd import SSD, dampening_factors, mean_squared_gradients
from expunge.methods.unlearn import unlearn

POSITIVE = st.floats(1e-6, 1e6)


@given(POSITIVE, POSITIVE, st.floats(0.1, 100), st.floats(0.1, 10))
def test_a_weight_is_scaled_only_where_the_ratio_asks_for_it_and_never_up(on_rows, on_all, selection, dampening):
    one, other = (torch.tensor([value], dtype=torch.float64) for value in (on_rows, on_all))
    factor = dampening_factors(one, other, selection=selection, dampening=dampening).item()
    if on_rows > selection * on_all:
        assert factor == pytest.approx(min(dampening * on_all / on_rows, 1))
    else:
        assert factor == 1


def test_weights_below_the_ratio_are_bit_identical_and_the_others_scaled(trained, rows, retain):
    few = rows.rows([1])
    method = SSD(selection=2.0, rows=1000)
    edit = unlearn(trained, few, method=method, retain=retain)
    x, y = torch.cat([few.x, retain.pixels]), torch.cat([few.y, retain.labels])
    on_rows, on_all = mean_squares(trained, few.x, few.y), mean_squares(trained, x, y)
    dampened = 0
    for name, before in trained.module.named_parameters():
        after = dict(edit.classifier.module.named_parameters())[name]
        asked = on_rows[name] > 2 * on_all[name]
        assert torch.equal(after[~asked], before[~asked]), name
        expected = before[asked] * on_all[name][asked] / on_rows[name][asked]
        torch.testing.assert_close(after[asked], expected, atol=1e-7, rtol=1e-3)
        dampened += int(asked.sum())
    assert dampened > 0
    assert edit.steps == 1


def test_importance_squares_each_row_and_not_their_mean(trained, rows):
    images = to_images(rows, rows.y)
    measured = mean_squared_gradients(trained.copy(), images, CostMeter(Runtime()))
    for one, other in zip(measured, mean_squares(trained, rows.x, rows.y).values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-3)


def test_gradients_of_rows_do_not_depend_on_each_other_or_on_the_mode(trained, rows):
    twin = trained.copy()
    twin.module.train()
    images = to_images(rows, rows.y)
    for one, other in zip(
        iterate_gradients(trained.copy(), images, CostMeter(Runtime())),
        iterate_gradients(twin, images, CostMeter(Runtime())),
        strict=True,
    ):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    assert twin.module.training


def mean_squares(classifier, x, y):
    """Return the mean of squared per-row gradients by name, computed apart from the package."""
    total = {}
    for row in range(len(x)):
        twin = classifier.copy()
        F.cross_entropy(twin(x[row : row + 1]), y[row : row + 1]).backward()
        for name, weight in twin.module.named_parameters():
            total[name] = total.get(name, 0) + weight.grad**2 / len(x)
    return total
