import pytest
import torch
import torch.nn.functional as F

from expunge.base.errors import SettingsError
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.descent import Descent
from expunge.methods.l2ul.importance import compute_importance, scale_to_unit
from expunge.methods.l2ul.stable import L2UL
from expunge.methods.unlearn import unlearn
from expunge.surrogates.adversarial import make_adversarial_pool
from expunge.surrogates.attack import Attack, l2_norms
from expunge.task.goals import Misclassify
from expunge.task.task import Limits, StopReason, Task

ATTACK = Attack(targets_per_row=3, radius=0.5, step_size=0.2, steps=3)
ONE_BATCH = Descent(learning_rate=0.01, momentum=0.0, forget_batch=6)


def first_losses(trained, rows, **settings):
    """Return the losses of the first step, at the weights as given, with everything in one batch."""
    method = L2UL(attack=ATTACK, adversarial_batch=18, descent=ONE_BATCH, **settings)
    return unlearn(trained, rows, method=method, limits=Limits(steps=1)).trace[0].losses


def test_the_pool_holds_so_many_examples_of_each_row(trained, rows):
    task = Task.create(trained, rows)
    pool = make_adversarial_pool(trained.frozen_copy(), task, ATTACK, Context(Runtime()))
    assert pool.x.shape == (18, 3, 8, 6)
    centres, own = rows.x.repeat_interleave(3, dim=0), rows.y.repeat_interleave(3)
    assert float(l2_norms(pool.x - centres).max()) <= ATTACK.radius + 1e-5
    assert bool((pool.targets != own).all())
    assert all(len(set(three.tolist())) == 3 for three in pool.targets.view(6, 3))
    torch.testing.assert_close(pool.logits, trained(pool.x).detach())


def test_the_cost_says_how_many_examples_reached_their_target(linear_classifier):
    """One other label is 0.2 away, in the ball, the other one 0.7, out of it."""
    weight = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]])
    classifier = linear_classifier(weight, torch.tensor([1.0, 0.7, 0.0]))
    task = Task.create(classifier, ForgetSet.numbered(torch.full((3, 1, 2, 2), 0.5), torch.zeros(3, dtype=torch.int64)))
    context, attack = Context(Runtime()), Attack(targets_per_row=2, radius=0.4, step_size=0.1, steps=20)
    make_adversarial_pool(classifier.frozen_copy(), task, attack, context)
    assert (context.cost().examples, context.cost().examples_reached) == (6, 3)


def test_the_first_losses_of_the_stable_variant(trained, rows):
    losses = first_losses(trained, rows, margin=0.5)
    logits = trained(rows.x).detach()
    own = logits.gather(1, rows.y[:, None])[:, 0]
    other = logits.scatter(1, rows.y[:, None], -torch.inf).amax(dim=1)
    assert losses["unlearning"] == pytest.approx(6 / 24 * (own - other + 0.5).mean().item(), rel=1e-4)
    assert losses["adversarial"] == pytest.approx(0, abs=1e-9)


def test_the_hinge_leaves_rows_alone_that_have_crossed(trained, rows):
    """From the first step on, only the row that has not crossed by the margin has a gradient."""
    y = rows.y.clone()
    y[1:] = (y[1:] + 1) % 5
    with pytest.warns(UserWarning, match="5 of 6 rows"):
        task = Task.create(trained, ForgetSet(rows.ids, rows.x, y), minimum_right=0, limits=Limits(steps=1))
    method = L2UL(attack=ATTACK, adversarial_batch=18, descent=ONE_BATCH, margin=0.0)
    losses = method.run(task, Runtime()).trace[0].losses
    gap = task.goal.gap(trained(rows.x), y)[0].item()
    assert losses["unlearning"] == pytest.approx(6 / 24 * gap / 6, rel=1e-4)


def test_each_step_is_the_gradient_of_the_total(trained, rows):
    """An independent computation of three steps of SGD; importance fades to a half and a quarter as the push grows."""
    method = L2UL(attack=Attack(targets_per_row=0), importance_weight=1.0, growth=2.0, descent=ONE_BATCH)
    edit = unlearn(trained, rows, method=method, limits=Limits(steps=3))
    twin, context = trained.copy(), Context(Runtime())
    omega = scale_to_unit(compute_importance(trained, rows.x, context))
    named, anchor = dict(twin.module.named_parameters()), dict(trained.module.named_parameters())
    for point in edit.trace:
        pull = [((1 - omega[name]) * (weight - anchor[name].detach()) ** 2).sum() for name, weight in named.items()]
        unlearning = F.relu(Misclassify().gap(twin(rows.x), rows.y) + 0.5).mean()
        importance = 0.5 * sum(pull) / 2 ** (point.step - 1)
        assert point.losses["unlearning"] == pytest.approx(unlearning.item(), rel=1e-4)
        assert point.losses["importance"] == pytest.approx(importance.item(), rel=1e-4)
        gradients = torch.autograd.grad(unlearning + importance, list(named.values()))
        with torch.no_grad():
            for weight, gradient in zip(named.values(), gradients, strict=True):
                weight.sub_(0.01 * gradient)
    assert edit.steps == 3
    assert edit.trace[1].losses["importance"] > 0


def test_the_push_grows_until_rows_cross_that_the_regularisers_hold_back(trained, rows):
    def run(growth):
        method = L2UL(
            attack=ATTACK, growth=growth, importance_weight=30, descent=Descent(learning_rate=0.01, forget_batch=6)
        )
        return unlearn(trained, rows.rows([0, 1, 5]), method=method, limits=Limits(steps=60))

    held_back, pushed = run(1.0), run(1.2)
    assert pushed.stop_reason is StopReason.GOAL_REACHED
    assert held_back.stop_reason is StopReason.STEP_LIMIT or held_back.steps > pushed.steps


def test_a_push_that_has_grown_out_of_range_is_the_whole_loss(trained, rows):
    """After 1.02^36000, a float has no number for it left: the share becomes 1, and not NaN."""
    method = L2UL(attack=ATTACK, growth=1e200, margin=0.0, descent=Descent(learning_rate=1e-9, momentum=0.0))
    edit = unlearn(trained, rows, method=method, limits=Limits(steps=4))
    assert edit.stop_reason is StopReason.STEP_LIMIT
    assert [point.losses["adversarial"] for point in edit.trace[2:]] == [0.0, 0.0]


def test_importance_holds_the_weights_where_they_are(trained, rows):
    def shift(weight):
        method = L2UL(attack=ATTACK, importance_weight=weight, descent=Descent(learning_rate=0.001))
        edit = unlearn(trained, rows, method=method, limits=Limits(steps=15))
        assert edit.steps == 15
        return edit.trace[-1].losses["importance"] / weight

    assert shift(20.0) < 0.8 * shift(1e-6)


def test_the_cost_is_all_that_went_forward_and_back(trained, rows):
    method = L2UL(attack=ATTACK, adversarial_batch=4, descent=Descent(forget_batch=6, learning_rate=1e-6))
    edit = unlearn(trained, rows, method=method, limits=Limits(steps=2))
    assert edit.cost.gradient_evaluations == 6 * 3 * 3 + 6 + 2 * (6 + 4)
    assert set(edit.cost.seconds_by_phase) == {"attack", "importance", "edit"}


@pytest.mark.parametrize(
    ("name", "value"), [("adversarial_batch", 0), ("importance_weight", -1), ("margin", -0.1), ("growth", 0.9)]
)
def test_settings_out_of_range(name, value):
    with pytest.raises(SettingsError, match=f"`{name}`: expected at least"):
        L2UL(**{name: value})
