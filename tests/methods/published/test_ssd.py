import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from expunge.compute.context import Context
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
    method = SSD(selection=2.0, batch_size=1)
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


@pytest.mark.parametrize("batch_size", [1, 4])
def test_importance_squares_the_mean_gradient_of_each_batch(trained, rows, batch_size):
    measured = mean_squared_gradients(trained.copy(), to_images(rows, rows.y), batch_size, Context(Runtime()))
    expected = mean_squares(trained, rows.x, rows.y, batch_size)
    for one, other in zip(measured, expected.values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-3)


def test_all_data_may_be_measured_on_a_part(trained, rows, retain):
    edit = unlearn(trained, rows, method=SSD(rows=10), retain=retain)
    assert edit.cost.gradient_evaluations == 6 + 10


def test_gradients_of_rows_do_not_depend_on_each_other_or_on_the_mode(trained, rows):
    twin = trained.copy()
    twin.module.train()
    images = to_images(rows, rows.y)
    for one, other in zip(
        iterate_gradients(trained.copy(), images, Context(Runtime())),
        iterate_gradients(twin, images, Context(Runtime())),
        strict=True,
    ):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    assert twin.module.training


def mean_squares(classifier, x, y, batch_size=1):
    """Return the mean of squared gradients of batches by name, computed apart from the package."""
    total, parts = {}, list(zip(x.split(batch_size), y.split(batch_size), strict=True))
    for images, labels in parts:
        twin = classifier.copy()
        F.cross_entropy(twin(images), labels).backward()
        for name, weight in twin.module.named_parameters():
            total[name] = total.get(name, 0) + weight.grad**2 / len(parts)
    return total
