"""L2UL as released, its oracle and its baseline, against what the authors' own code gives on the golden network."""

from itertools import count

import pytest
import torch
from golden_net import (
    assert_same_change,
    make_classifier,
    make_forget_set,
    make_retain,
    read_golden,
    spread,
)

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.images import TensorImages
from expunge.methods.l2ul import released as l2ul_released
from expunge.methods.l2ul.released import compute_released_importance
from expunge.methods.published import oracle, plain
from expunge.methods.unlearn import make_method
from expunge.surrogates import adversarial as pools
from expunge.surrogates import attack as adversarial
from expunge.surrogates.adversarial import make_adversarial_pool, order_in_rounds
from expunge.task.task import Task

RELEASED = ("l2ul-adv", "l2ul-adv-imp")
NOISE = (spread(16 * 108, 300) > 0.5).float().view(16, 1, 3, 6, 6)


@pytest.fixture
def three_steps(monkeypatch):
    """Let methods take three steps, whatever the goal, and return the classifier after them."""

    def take(task, plan, context):
        for _ in range(3):
            plan.step()
        return plan.working

    for module in (l2ul_released, oracle, plain):
        monkeypatch.setattr(module, "edit_until_goal", take)


@pytest.fixture
def their_draws(monkeypatch):
    """Let the attack start from their noise, toward their targets."""
    golden = read_golden("l2ul-attack")
    order = order_in_rounds(8, 2, golden["settings"]["descent"]["forget_batch"])
    targets = torch.empty(16, dtype=torch.int64)
    targets[order] = torch.tensor(golden["draws"]["targets"])
    numbers, own_places = count(), order.argsort()
    monkeypatch.setattr(adversarial, "draw_noise", lambda shape, bounds, generator: NOISE[own_places[next(numbers)]])
    monkeypatch.setattr(pools, "draw_targets", lambda *told: targets.view(8, 2))
    return order


def make_task(**options):
    return Task.create(make_classifier(), make_forget_set(), **options)


def test_the_examples_come_in_their_order(their_draws):
    assert (their_draws // 2).tolist() == read_golden("l2ul-attack")["draws"]["rows"]


def test_the_attack_is_theirs(their_draws):
    golden, task = read_golden("l2ul-attack"), make_task()
    attack = make_method("l2ul-faithful", {"attack": golden["settings"]["attack"]}).attack
    pool = make_adversarial_pool(task.classifier.frozen_copy(), task, attack, Context(Runtime()))
    theirs = torch.tensor(golden["x"]).view(-1, 3, 6, 6)
    torch.testing.assert_close(pool.x[their_draws[golden["kept"]]], theirs, rtol=0, atol=1e-4)


def test_the_importance_is_theirs():
    golden, classifier = read_golden("l2ul-importance"), make_classifier()
    descent = make_method("l2ul-faithful", golden["settings"]).descent
    found = compute_released_importance(classifier, make_forget_set().x, descent, Context(Runtime()))
    assert {name.removeprefix("network.") for name in found} == set(golden["importance"])
    for name, values in golden["importance"].items():
        torch.testing.assert_close(found[f"network.{name}"].flatten(), torch.tensor(values), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", RELEASED)
def test_three_steps_are_theirs(name, their_draws, three_steps):
    golden = read_golden(name)
    method = make_method(golden["method"], golden["settings"])
    assert_same_change(method.run(make_task(), Runtime()), golden)


def test_three_steps_of_the_oracle_are_theirs(three_steps):
    """The retain images are given so that shuffling them brings them into their order."""
    golden, retain = read_golden("oracle"), make_retain()
    back = torch.randperm(24, generator=make_task().generator("retain batches")).argsort()
    shuffled = TensorImages([retain.ids[row] for row in back], retain.labels[back], retain.pixels[back])
    method = make_method("oracle", golden["settings"])
    assert_same_change(method.run(make_task(retain=shuffled), Runtime()), golden)


def test_three_steps_of_negative_gradient_are_theirs(three_steps):
    golden = read_golden("negative-gradient")
    method = make_method("negative-gradient", golden["settings"])
    assert_same_change(method.run(make_task(), Runtime()), golden)
