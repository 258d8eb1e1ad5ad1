import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.base.errors import SettingsError
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent, Objective, endless_batches
from expunge.models.modes import BatchNormMode


@given(st.integers(1, 20), st.integers(1, 25), st.integers(0, 99))
def test_each_pass_over_the_batches_is_everything_once(count, batch_size, seed):
    batches = endless_batches(count, batch_size, torch.Generator().manual_seed(seed))
    for _ in range(3):
        passed = torch.cat([next(batches) for _ in range(-(-count // batch_size))])
        assert sorted(passed.tolist()) == list(range(count))


def test_passes_come_in_different_orders():
    batches = endless_batches(20, 20, torch.Generator().manual_seed(0))
    assert not torch.equal(next(batches), next(batches))


def test_nothing_gives_empty_batches():
    assert len(next(endless_batches(0, 5, torch.Generator()))) == 0


@pytest.mark.parametrize(("rows", "steps"), [(1, 7), (32, 7), (33, 14), (256, 56)])
def test_steps_of_so_many_passes(rows, steps):
    assert Descent(passes=7, forget_batch=32).count_steps(rows) == steps


def test_a_step_is_sgd_with_momentum_and_weight_decay(linear_classifier):
    """By hand: v = m v + g + d w; w = w - r v."""
    classifier = linear_classifier(torch.tensor([[1.0], [2.0]]), torch.zeros(2))
    pull = torch.tensor([[0.5], [-1.0]])
    layer = classifier.module[1]
    step = Descent(learning_rate=0.1, momentum=0.5, weight_decay=0.2).make_step(
        classifier,
        lambda: Objective([], {"a": (layer.weight * pull).sum(), "b": 2 * layer.bias.sum()}),
        Context(Runtime()),
    )
    weight, velocity = torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1)
    for _ in range(3):
        losses = step()
        assert losses["a"] == pytest.approx((weight * pull).sum().item())
        velocity = 0.5 * velocity + pull + 0.2 * weight
        weight = weight - 0.1 * velocity
        torch.testing.assert_close(layer.weight.detach(), weight)
    assert losses.keys() == {"a", "b"}


def test_gradients_left_over_from_elsewhere_count_for_nothing(linear_classifier):
    classifiers = [linear_classifier(torch.ones(2, 1), torch.zeros(2)) for _ in range(2)]
    classifiers[1].module[1].weight.grad = torch.full((2, 1), 1e6)
    for classifier in classifiers:
        Descent(learning_rate=0.1).make_step(
            classifier,
            lambda layer=classifier.module[1]: Objective([], {"a": layer.weight.square().sum() + layer.bias.sum()}),
            Context(Runtime()),
        )()
    assert torch.equal(classifiers[0].module[1].weight, classifiers[1].module[1].weight)


def go_down_squares(classifier, x, **settings):
    descent, context = Descent(**settings), Context(Runtime())
    one_pass = descent.make_pass(classifier, x, "a", lambda logits, part: logits.square().mean(dim=1).sum(), context)
    descent.make_step(classifier, lambda: Objective([one_pass]), context)()


@pytest.mark.parametrize("mode", BatchNormMode)
def test_losses_see_the_mode_and_flags_come_back(classifier, rows, mode):
    seen = []

    classifier.network[1].register_forward_hook(lambda layer, x, y: seen.append(layer.training))
    go_down_squares(classifier, rows.x, batchnorm=mode)
    assert seen == [mode is BatchNormMode.BATCH]
    assert not any(part.training for part in classifier.module.modules())


def test_weights_that_need_no_gradient_stay_even_under_weight_decay(classifier, rows):
    frozen = classifier.network[0].weight.requires_grad_(False)
    before, moving = frozen.clone(), classifier.network[8].weight.clone()
    go_down_squares(classifier, rows.x, learning_rate=0.1, weight_decay=0.1)
    assert torch.equal(frozen, before)
    assert not torch.equal(classifier.network[8].weight, moving)


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0), ("momentum", 1.1), ("weight_decay", -1), ("forget_batch", 0), ("passes", 0)],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(SettingsError, match=f"`{name}`: expected "):
        Descent(**{name: value})
