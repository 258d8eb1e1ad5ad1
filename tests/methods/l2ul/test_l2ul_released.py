import pytest
import torch
import torch.nn.functional as F

from expunge.base.errors import SettingsError
from expunge.base.settings import to_mapping
from expunge.compute.context import Context
from expunge.compute.runtime import Precision, Runtime
from expunge.methods.descent import Descent
from expunge.methods.l2ul.released import L2ULFaithful, compute_released_importance
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.modes import BatchNormMode, editing
from expunge.surrogates.adversarial import make_adversarial_pool, order_in_rounds
from expunge.surrogates.attack import Attack, Order, Start, TargetDraw
from expunge.task.task import Limits, Task

ATTACK = Attack(targets_per_row=3, radius=0.5, step_size=0.2, steps=3)
DESCENT = Descent(learning_rate=0.01, momentum=0.0, forget_batch=6, batchnorm=BatchNormMode.BATCH)


def test_the_defaults_are_the_authors():
    assert L2ULFaithful() == L2ULFaithful(
        attack=Attack(
            targets_per_row=20,
            radius=4.0,
            step_size=0.1,
            steps=100,
            start=Start.NOISE_PROJECTED,
            targets=TargetDraw.RELEASED,
            order=Order.BOUNDS_FIRST,
        ),
        adversarial_batch=256,
        importance_weight=1.0,
        descent=Descent(
            learning_rate=1e-3,
            momentum=0.9,
            weight_decay=1e-4,
            batchnorm=BatchNormMode.BATCH,
            forget_batch=32,
            passes=1000,
        ),
    )


def test_the_first_losses_are_those_of_two_passes(trained, rows):
    """Each batch is normalised by its own statistics: six rows, and the first eight of eighteen examples."""
    task = Task.create(trained, rows)
    pool = make_adversarial_pool(trained.frozen_copy(), task, ATTACK, Context(Runtime()))
    method = L2ULFaithful(attack=ATTACK, adversarial_batch=8, descent=DESCENT)
    losses = unlearn(trained, rows, method=method, limits=Limits(steps=1)).trace[0].losses
    first = order_in_rounds(6, 3, 6)[:8]
    twin = trained.copy()
    with editing(twin.module, BatchNormMode.BATCH):
        beside = F.cross_entropy(twin(pool.x[first]), pool.targets[first])
        own = -F.cross_entropy(twin(rows.x), rows.y)
    assert losses["adversarial"] == pytest.approx(8 / 14 * beside.item(), rel=1e-4)
    assert losses["unlearning"] == pytest.approx(6 / 14 * own.item(), rel=1e-4)
    assert losses["importance"] == 0


def test_a_pass_goes_through_the_examples_once(trained, rows):
    """Eighteen examples in batches of eight are three steps a pass; the rows of the second batch are two."""
    descent = Descent(learning_rate=1e-6, forget_batch=4, passes=2, batchnorm=BatchNormMode.BATCH)
    edit = unlearn(trained, rows, method=L2ULFaithful(attack=ATTACK, adversarial_batch=8, descent=descent))
    assert edit.steps == 2 * 3
    assert edit.cost.gradient_evaluations == 6 * 3 * 3 + 6 + 2 * 18 + 3 * (4 + 2)
    assert set(edit.cost.seconds_by_phase) == {"attack", "importance", "edit"}


def test_without_examples_it_is_the_plain_push_and_with_importance_a_slower_one(trained, rows):
    def losses(method):
        return [dict(point.losses) for point in unlearn(trained, rows, method=method, limits=Limits(steps=4)).trace]

    none = Attack(targets_per_row=0)
    plain = losses(make_method("negative-gradient", {"descent": to_mapping(DESCENT)}))
    bare, held = (
        losses(L2ULFaithful(attack=none, importance_weight=weight, descent=DESCENT)) for weight in (0.0, 20.0)
    )
    assert bare == [pytest.approx(point, rel=1e-4) for point in plain]
    assert set(held[0]) == {"unlearning", "importance"}
    assert held[1]["unlearning"] == pytest.approx(plain[1]["unlearning"], rel=1e-4)
    assert held[3]["unlearning"] > plain[3]["unlearning"] + 1e-3


def test_importance_leaves_the_classifier_alone(classifier, rows):
    before = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}
    importance = compute_released_importance(classifier, rows.x, DESCENT, Context(Runtime()))
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.module.state_dict().items())
    assert all(weight.grad is None for weight in classifier.module.parameters())
    assert importance.keys() == dict(classifier.module.named_parameters()).keys()


def test_frozen_weights_have_no_importance(classifier, rows):
    classifier.network[0].weight.requires_grad_(False)
    importance = compute_released_importance(classifier, rows.x, DESCENT, Context(Runtime()))
    assert not importance["network.0.weight"].any()
    assert importance["network.8.weight"].any()


def test_bfloat16_is_about_the_same(trained, rows):
    def run(precision):
        descent = Descent(learning_rate=1e-3, batchnorm=BatchNormMode.BATCH, precision=precision)
        edit = unlearn(trained, rows, method=L2ULFaithful(attack=ATTACK, descent=descent), limits=Limits(steps=1))
        return edit.trace[0].losses

    exact, rough = (run(each) for each in (Precision.FLOAT32, Precision.BFLOAT16))
    assert exact != rough
    assert rough["adversarial"] == pytest.approx(exact["adversarial"], rel=0.05)


@pytest.mark.parametrize(("name", "value"), [("adversarial_batch", 0), ("importance_weight", -1)])
def test_settings_out_of_range(name, value):
    with pytest.raises(SettingsError, match=f"`{name}`: expected at least"):
        L2ULFaithful(**{name: value})
