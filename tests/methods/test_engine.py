import math
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.engine import Plan, edit_until_goal
from expunge.models.classifier import Classifier
from expunge.task.earlier import Earlier
from expunge.task.evaluation import compute_logits
from expunge.task.goals import achieved
from expunge.task.task import Limits, StopReason, Task


def start(task, step, *, step_limit=50, runtime=None):
    """Run `step(working, number)` under the engine; number counts from 1."""
    working, numbers = task.classifier.copy(), iter(range(1, 10**6))
    plan = Plan("scripted", {"a": 1}, working, lambda: step(working, next(numbers)), step_limit)
    return edit_until_goal(task, plan, Context(runtime or Runtime()))


def forget_labels(working, labels):
    """Take these labels away from the classifier, whatever it sees."""
    with torch.no_grad():
        working.network[-1].bias[labels] -= 1e3


@pytest.mark.parametrize(("held", "reason"), [(True, StopReason.GOAL_REACHED), (False, StopReason.STEP_LIMIT)])
def test_at_a_limit_before_the_least_steps_earlier_rows_count_too(trained, rows, held, reason):
    earlier = rows.rows([2])  # with another label than the row to forget

    def step(working, number):
        forget_labels(working, [int(rows.y[row]) for row in ([0, 2] if held else [0])])
        return {"loss": 1.0}

    task = Task.create(trained, rows.rows([0]), limits=Limits(steps=3), earlier=Earlier(trained, earlier))
    assert int(rows.y[0]) != int(rows.y[2])
    working = trained.copy()
    plan = Plan("scripted", {}, working, lambda: step(working, 1), 50, least_steps=5)
    edit = edit_until_goal(task, plan, Context(Runtime()))
    assert (edit.stop_reason, edit.steps, edit.goal_achieved) == (reason, 3, 1.0)


def nothing(working, number):
    return {"loss": 1.0}


@pytest.fixture
def task(trained, rows):
    return Task.create(trained, rows)


def check_flags(edit):
    logits = compute_logits(edit.classifier, edit.task.forget_set.x)
    assert torch.equal(edit.achieved, achieved(edit.task.goal, logits, edit.task.labels))


def test_it_stops_at_the_first_step_after_which_the_goal_holds(trained, rows):
    def step(working, number):
        if number in (2, 4):
            forget_labels(working, [0] if number == 2 else [1])
        return {"loss": -float(number)}

    edit = start(Task.create(trained, rows.rows([0, 1, 5])), step)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert edit.steps == 4
    assert edit.goal_achieved == 1.0
    assert [point.step for point in edit.trace] == [1, 2, 3, 4]
    assert [point.achieved for point in edit.trace] == [0, 2, 2, 3]
    assert [point.losses["loss"] for point in edit.trace] == [-1, -2, -3, -4]
    assert (edit.method, edit.settings) == ("scripted", {"a": 1})
    check_flags(edit)


def test_a_goal_that_holds_already_takes_no_step(trained, rows):
    wrong = ForgetSet(rows.ids, rows.x, (rows.y + 1) % 5)
    with pytest.warns(UserWarning, match="6 of 6 rows"):
        task = Task.create(trained, wrong, minimum_right=0)
    edit = start(task, nothing)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert edit.steps == 0
    assert edit.trace == ()
    assert edit.classifier.sha256() == trained.sha256()


def test_the_methods_own_limit(task):
    edit = start(task, nothing, step_limit=3)
    assert (edit.stop_reason, edit.steps) == (StopReason.STEP_LIMIT, 3)


def test_the_tasks_limit_goes_before_the_methods(trained, rows):
    edit = start(Task.create(trained, rows, limits=Limits(steps=2)), nothing, step_limit=3)
    assert (edit.stop_reason, edit.steps) == (StopReason.STEP_LIMIT, 2)


def run_course(task, step, length, **options):
    working, numbers = task.classifier.copy(), iter(range(1, 10**6))
    plan = Plan("scripted", {}, working, lambda: step(working, next(numbers)), 50, completed=lambda n: n >= length)
    return edit_until_goal(task, plan, Context(Runtime()))


def test_a_method_with_a_rule_of_its_own_runs_its_course_and_its_last_state_is_kept(trained, rows):
    states = []

    def step(working, number):
        with torch.no_grad():
            working.network[-1].bias[0] += -1e3 if number == 1 else 1e3 if number == 2 else 0.1
        states.append(working.sha256())
        return {"loss": 1.0}

    edit = run_course(Task.create(trained, rows.rows([0, 5])), step, 3)
    assert [point.achieved for point in edit.trace] == [2, 0, 0]
    assert (edit.stop_reason, edit.steps) == (StopReason.COMPLETED, 3)
    assert edit.classifier.sha256() == states[-1]
    check_flags(edit)


def test_a_course_that_ends_at_the_goal_has_reached_it(trained, rows):
    def step(working, number):
        forget_labels(working, [0])
        return {"loss": 1.0}

    edit = run_course(Task.create(trained, rows.rows([0, 5])), step, 4)
    assert (edit.stop_reason, edit.steps) == (StopReason.GOAL_REACHED, 4)


def test_a_course_cut_short_by_a_limit_says_so(trained, rows):
    edit = run_course(Task.create(trained, rows, limits=Limits(steps=2)), nothing, 4)
    assert (edit.stop_reason, edit.steps) == (StopReason.STEP_LIMIT, 2)


def test_a_course_that_ends_with_a_loss_that_is_not_finite_has_diverged(trained, rows):
    edit = run_course(Task.create(trained, rows), lambda working, number: {"loss": math.nan}, 1)
    assert edit.stop_reason is StopReason.DIVERGED


def test_the_limit_of_time(trained, rows):
    edit = start(Task.create(trained, rows, limits=Limits(seconds=1e-9)), nothing)
    assert (edit.stop_reason, edit.steps) == (StopReason.TIME_LIMIT, 1)


def test_a_goal_reached_at_the_last_step_is_reached(trained, rows):
    def step(working, number):
        forget_labels(working, [0])
        return {"loss": 0.0}

    edit = start(Task.create(trained, rows.rows([0, 5]), limits=Limits(1, 1e-9)), step)
    assert edit.stop_reason is StopReason.GOAL_REACHED


def test_the_best_state_is_returned_and_of_equals_the_first(task):
    states = []

    def step(working, number):
        with torch.no_grad():
            working.network[0].weight.mul_(1.0001)
            if number in (2, 4):
                working.network[-1].bias[0] -= 1e3 if number == 2 else -1e3
        states.append(working.sha256())
        return {"loss": 0.0}

    edit = start(task, step, step_limit=5)
    assert [point.achieved for point in edit.trace] == [0, 2, 2, 0, 0]
    assert edit.classifier.sha256() == states[1]
    assert edit.achieved.sum() == 2
    check_flags(edit)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_diverge_end_it_with_the_best_finite_state(task, bad):
    def step(working, number):
        if number == 1:
            forget_labels(working, [0])
        else:
            working.network[0].weight.data.fill_(bad)
        return {"loss": 1.0}

    edit = start(task, step)
    assert (edit.stop_reason, edit.steps) == (StopReason.DIVERGED, 2)
    assert edit.achieved.sum() == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in edit.classifier.module.state_dict().values())
    check_flags(edit)


def test_an_infinite_weight_behind_a_relu_is_divergence(rows):
    """relu(-inf) is 0: the answers are finite, and the goal may even hold."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[0].bias.fill_(1.0)
        network[4].weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 4))
        network[4].bias.copy_(torch.tensor([0.0, 1.0]))
    one = ForgetSet(("a",), rows.x[:1], torch.tensor([0]))

    def step(working, number):
        working.network[0].bias.data.fill_(-math.inf)
        return {"loss": 1.0}

    edit = start(Task.create(Classifier(network, 2), one), step)
    assert edit.stop_reason is StopReason.DIVERGED
    assert edit.goal_achieved == 0.0
    assert torch.equal(edit.classifier.network[0].bias, torch.ones(4))


def test_a_loss_that_is_not_finite_is_divergence_and_kept_out_of_the_trace(task):
    edit = start(task, lambda working, number: {"loss": math.nan, "other": 2.0})
    assert (edit.stop_reason, edit.steps) == (StopReason.DIVERGED, 1)
    assert edit.trace[0].losses == {"other": 2.0}


def test_a_reached_goal_is_reached_whatever_the_loss_was(trained, rows):
    def step(working, number):
        forget_labels(working, [0])
        return {"loss": math.inf}

    edit = start(Task.create(trained, rows.rows([0, 5])), step)
    assert edit.stop_reason is StopReason.GOAL_REACHED


def test_an_interruption_ends_it_with_the_best_state(task):
    def step(working, number):
        forget_labels(working, [number])
        if number == 3:
            raise KeyboardInterrupt
        return {"loss": 1.0}

    edit = start(task, step)
    assert (edit.stop_reason, edit.steps) == (StopReason.INTERRUPTED, 2)
    assert edit.achieved.sum() == 2
    assert len(edit.trace) == 2
    check_flags(edit)


def test_other_errors_are_not_swallowed(task):
    def step(working, number):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(task, step)


def test_progress_and_cost_see_every_step(task):
    seen = []

    class Recorder:
        @contextmanager
        def phase(self, name, total):
            seen.append((name, total))
            yield seen.append

    edit = start(task, nothing, step_limit=3, runtime=Runtime(progress=Recorder()))
    assert seen == [("edit", 3), 1, 1, 1]
    assert 0 < edit.cost.seconds_by_phase["edit"] <= edit.cost.seconds
    assert [point.seconds for point in edit.trace] == sorted(point.seconds for point in edit.trace)


def test_no_gradients_stay_on_the_edited_classifier(task):
    def step(working, number):
        working(task.forget_set.x).sum().backward()
        return {"loss": 1.0}

    edit = start(task, step, step_limit=1)
    assert all(weight.grad is None for weight in edit.classifier.module.parameters())


@pytest.fixture
def many(trained, rows):
    """Return a task with 150 rows of four of the five classes: five batches of a look."""
    some = rows.rows([0, 1, 2, 3, 5])
    noise = 0.02 * torch.rand(150, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    x = (some.x.repeat(30, 1, 1, 1) + noise).clamp(0, 1)
    return Task.create(trained, ForgetSet.numbered(x, some.y.repeat(30)))


def test_a_look_ends_at_the_rows_that_show_that_the_goal_is_not_reached(many):
    seen = []

    def step(working, number):
        if number == 1:
            working.module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        return {"loss": 1.0}

    edit = start(many, step, step_limit=11)
    assert edit.stop_reason is StopReason.STEP_LIMIT
    assert seen == [32, 32, 32, 32, 150, 32, 32, 32, 32, 150, 150]
    check_flags(edit)


def test_with_many_rows_it_still_stops_at_the_first_step_after_which_the_goal_holds(many):
    labels = iter([[0], [3], [], [1], [2]])
    edit = start(many, lambda working, number: forget_labels(working, next(labels)) or {"loss": 1.0})
    assert edit.stop_reason is StopReason.GOAL_REACHED
    logits = compute_logits(edit.classifier, many.forget_set.x)
    assert bool((logits.argmax(dim=1) != many.labels).all())
    assert edit.steps == 5
    assert edit.trace[-1].achieved == 150
    assert all(point.achieved < 150 for point in edit.trace[:-1])
    check_flags(edit)


def test_of_partial_looks_the_best_state_is_one_at_which_all_rows_were_seen(many):
    def step(working, number):
        forget_labels(working, [0] if number < 6 else [0, 1])
        return {"loss": 1.0}

    edit = start(many, step, step_limit=8)
    assert edit.stop_reason is StopReason.STEP_LIMIT
    check_flags(edit)
    assert int(edit.achieved.sum()) >= 60
