"""What every method of the table promises. A new method needs one row in `ROWS` and nothing else."""

import json
import tomllib
import warnings
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import pytest
import tomli_w
import torch
from hypothesis import given
from hypothesis import strategies as st
from quick_methods import DESCENT, ROWS
from torch import nn

from expunge.base.errors import ExpungeWarning, SettingsError
from expunge.base.settings import Range, describe_settings, from_mapping, merge, to_mapping
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.methods import METHODS
from expunge.methods.protocol import Aim, Needs
from expunge.methods.unlearn import Interrupted, make_method, unlearn
from expunge.models.classifier import Classifier
from expunge.models.normalised import Normalised
from expunge.task.goals import GOALS, pursued_as
from expunge.task.task import Limits, StopReason, Strength, Task

OTHERS = {}
TWO_STEPS = Limits(steps=2)
CASES = [(name, goal) for name, method in METHODS.items() for goal in method.goals]
REFUSED = [(name, goal) for name, method in METHODS.items() for goal in GOALS if pursued_as(goal) not in method.goals]
DIVERGING = [(name, goal) for name, goal in CASES if ROWS[name].wild is not None]
MODES = ("eval", "train", "mixed")
each_case = pytest.mark.parametrize(("name", "goal"), CASES, ids=[f"{name}-{goal}" for name, goal in CASES])
each_method = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def few(rows):
    """Return three rows of two classes, with new labels that only the goal to relabel looks at."""
    chosen = rows.rows([0, 1, 5])
    return ForgetSet(chosen.ids, chosen.x, chosen.y, (chosen.y + 2) % 5)


@pytest.fixture(scope="module", autouse=True)
def _others(other_images):
    """Give `run` the rest of the training data, which it offers to every method."""
    OTHERS["retain"] = TensorImages([f"other-{row}" for row in range(20)], other_images[1], other_images[0])
    yield
    OTHERS.clear()


def run(classifier, forget_set, name, goal, *, settings=None, **options):
    method = make_method(name, ROWS[name].quick if settings is None else settings)
    options = {"strength": Strength.EXACT, **OTHERS, **options}
    return unlearn(classifier, forget_set, goal=GOALS[goal], method=method, **options)


def snapshot(classifier):
    """Return everything about a classifier that a method must leave as it is."""
    module = classifier.module
    return {
        "state": {name: tensor.clone() for name, tensor in module.state_dict().items()},
        "flags": [part.training for part in module.modules()],
        "requires_grad": [weight.requires_grad for weight in module.parameters()],
        "gradients": [None if weight.grad is None else weight.grad.clone() for weight in module.parameters()],
        "identity": [id(tensor) for tensor in (*module.parameters(), *module.buffers())],
    }


def assert_unchanged(before, classifier):
    after = snapshot(classifier)
    assert before["state"].keys() == after["state"].keys()
    for name, tensor in before["state"].items():
        assert torch.equal(tensor, after["state"][name]), name
    for old, new in zip(before["gradients"], after["gradients"], strict=True):
        assert (old is None and new is None) or torch.equal(old, new)
    for name in ("flags", "requires_grad", "identity"):
        assert before[name] == after[name], name


def assert_honest(edit):
    """Check the stop reason, the flags and the weights again, with nothing but the network itself."""
    twin = edit.classifier.copy().module.eval()
    rows = edit.task.forget_set
    with torch.no_grad():
        logits = twin(rows.x)
    predicted = logits.argmax(dim=1)
    held = predicted == rows.y_new if edit.task.goal.name == "relabel" else predicted != rows.y
    if edit.task.goal.name == "unseen":
        own = logits.gather(1, rows.y[:, None])[:, 0]
        held = own - logits.scatter(1, rows.y[:, None], -torch.inf).amax(dim=1) < (
            0 if edit.task.allowed is None else edit.task.allowed
        )
    assert torch.equal(edit.achieved, held)
    assert (edit.stop_reason is StopReason.GOAL_REACHED) == bool(held.all())
    assert all(bool(torch.isfinite(tensor).all()) for tensor in twin.state_dict().values())
    assert len(edit.trace) == edit.steps
    if METHODS[edit.method].aim is Aim.NEVER_SEEN:
        assert edit.stop_reason is not StopReason.COMPLETED or edit.trace[-1].achieved == held.sum()
    else:
        assert edit.stop_reason is not StopReason.COMPLETED
        assert edit.goal_achieved >= max((point.achieved for point in edit.trace), default=0) / len(rows) - 1e-12


def what_it_did(edit):
    """Return weights and losses: where five steps bring no row nearer to its goal, the best weights are the first."""
    return edit.classifier.sha256(), [point.losses for point in edit.trace]


def test_every_method_has_a_row():
    assert set(ROWS) == set(METHODS), "add the method's quick settings to ROWS"


@each_method
def test_a_method_declares_what_it_is(name):
    method = METHODS[name]
    assert method.name == name
    assert is_dataclass(method)
    assert method.__dataclass_params__.frozen
    assert method.summary
    assert any(word in method.source for word in ("arXiv", "doi", "OpenReview", "this project"))
    assert method.needs in Needs
    assert method.aim in Aim
    assert method.goals
    assert set(method.goals) <= set(GOALS)
    assert method.__doc__


@each_case
@pytest.mark.parametrize("mode", MODES)
def test_the_given_classifier_is_untouched(classifier, few, name, goal, mode):
    classifier.module.train(mode != "eval")
    if mode == "mixed":
        classifier.network[1].eval()
        classifier.network[0].weight.requires_grad_(False)
    before = snapshot(classifier)
    edit = run(classifier, few, name, goal, limits=Limits(steps=3))
    assert_unchanged(before, classifier)
    assert all(weight.grad is None for weight in classifier.module.parameters())
    assert edit.task.classifier is classifier
    assert snapshot(edit.classifier)["flags"] == before["flags"]
    assert snapshot(edit.classifier)["requires_grad"] == before["requires_grad"]
    if mode == "mixed":
        assert torch.equal(edit.classifier.network[0].weight, classifier.network[0].weight)
    shared = {id(tensor) for tensor in edit.classifier.module.parameters()} & set(before["identity"])
    assert not shared


@each_case
def test_the_mode_it_was_given_in_makes_no_difference(trained, few, name, goal):
    twin = trained.copy()
    twin.module.train()
    one, other = (run(each, few, name, goal, limits=Limits(steps=3)) for each in (trained, twin))
    assert one.classifier.sha256() == other.classifier.sha256()


@each_case
def test_gradients_left_on_the_given_classifier_make_no_difference(trained, classifier, few, name, goal):
    for weight in classifier.module.parameters():
        weight.grad = torch.full_like(weight, 1e6)
    before = snapshot(classifier)
    edit = run(classifier, few, name, goal, limits=Limits(steps=3))
    assert_unchanged(before, classifier)
    assert edit.classifier.sha256() == run(trained, few, name, goal, limits=Limits(steps=3)).classifier.sha256()


@pytest.mark.processor
@each_case
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(trained, few, name, goal):
    limits = Limits(steps=5)
    one = run(trained, few, name, goal, seed=3, limits=limits)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        before = torch.get_rng_state()
        again = run(trained, few, name, goal, seed=3, limits=limits)
        assert torch.equal(torch.get_rng_state(), before), "the global generator was drawn from"
    others = [run(trained, few, name, goal, seed=seed, limits=limits) for seed in (4, 5, 6)]
    assert what_it_did(one) == what_it_did(again)
    assert any(what_it_did(other) != what_it_did(one) for other in others)


@pytest.mark.processor
@each_case
def test_three_rows(trained, few, name, goal):
    edit = run(trained, few, name, goal)
    assert_honest(edit)
    assert edit.method == name
    assert edit.classifier.sha256() != trained.sha256()
    assert edit.cost.gradient_evaluations > 0


@pytest.mark.processor
@each_case
def test_one_row_is_forgotten(trained, few, name, goal):
    edit = run(trained, few.rows([1]), name, goal)
    assert_honest(edit)
    if METHODS[name].aim is Aim.NEVER_SEEN:
        assert edit.stop_reason in (StopReason.GOAL_REACHED, StopReason.COMPLETED, StopReason.STEP_LIMIT)
    else:
        assert edit.stop_reason is StopReason.GOAL_REACHED


class Unseen:
    """Retain data that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} of the retain data was read")


@each_case
def test_retain_data_are_declared_or_never_seen(trained, few, name, goal):
    if METHODS[name].needs is Needs.FORGET_ONLY:
        edit = run(trained, few, name, goal, limits=Limits(steps=1), retain=Unseen())
        assert edit.task.retain is None
    else:
        with pytest.raises(SettingsError, match="`retain`: expected"):
            run(trained, few, name, goal, retain=None)


@pytest.mark.processor
@each_case
def test_robust_is_reached_only_if_fresh_copies_hold(trained, few, name, goal):
    edit = run(trained, few, name, goal, strength=Strength.ROBUST, limits=Limits(steps=60))
    ends = (StopReason.GOAL_REACHED, StopReason.COMPLETED, StopReason.STEP_LIMIT, StopReason.DIVERGED)
    assert edit.stop_reason in ends
    if edit.stop_reason is StopReason.GOAL_REACHED:
        assert edit.goal_achieved == 1.0
        assert edit.measure_robust_goal().share > 0.9


@each_case
def test_one_step(trained, few, name, goal):
    edit = run(trained, few, name, goal, limits=Limits(steps=1))
    assert_honest(edit)
    assert edit.steps == 1
    assert edit.stop_reason in (StopReason.STEP_LIMIT, StopReason.GOAL_REACHED, StopReason.COMPLETED)


@each_case
def test_no_time(trained, few, name, goal):
    edit = run(trained, few, name, goal, limits=Limits(seconds=1e-9))
    assert_honest(edit)
    assert edit.steps <= 1
    assert edit.stop_reason in (StopReason.TIME_LIMIT, StopReason.GOAL_REACHED, StopReason.COMPLETED)


@pytest.mark.parametrize(("name", "goal"), DIVERGING)
def test_divergence_is_said_and_the_best_finite_state_returned(trained, few, name, goal):
    edit = run(trained, few, name, goal, settings=ROWS[name].wild)
    assert_honest(edit)
    assert edit.stop_reason is StopReason.DIVERGED
    json.dumps([dict(point.losses) for point in edit.trace], allow_nan=False)


class Alarm:
    """Progress that, from the phase "edit" on, lets every deep copy of `Interrupting` count its forward passes."""

    armed, calls = False, 0

    def __deepcopy__(self, memo):
        return self

    @contextmanager
    def phase(self, name, total):
        self.armed = name == "edit"
        yield lambda units: None

    def ring(self):
        if self.armed and torch.is_grad_enabled():
            self.calls += 1
            if self.calls > 2:
                raise KeyboardInterrupt


class Interrupting(nn.Module):
    """A network in the middle of whose third step somebody presses Ctrl-C."""

    def __init__(self, network, alarm):
        super().__init__()
        self.network, self.alarm = network, alarm

    def forward(self, x):
        self.alarm.ring()
        return self.network(x)


@each_case
def test_ctrl_c_within_a_step_ends_it_with_the_best_state(trained, few, name, goal):
    alarm = Alarm()
    interrupting = Classifier(Interrupting(trained.copy().module, alarm), 5)
    before = snapshot(interrupting)
    with pytest.raises(Interrupted, match="the best state is this error's `edit`") as stopped:
        run(interrupting, few, name, goal, settings=ROWS[name].slow, runtime=Runtime(progress=alarm))
    edit = stopped.value.edit
    assert edit.stop_reason is StopReason.INTERRUPTED
    assert_honest(edit)
    assert_unchanged(before, interrupting)


@pytest.mark.parametrize(("name", "goal"), REFUSED)
def test_a_goal_that_the_method_cannot_pursue_is_refused(trained, few, name, goal):
    with pytest.raises(SettingsError, match=f"`goal`: expected .* with the method {name}, got {goal}"):
        run(trained, few, name, goal)


@each_method
def test_every_setting_says_what_it_means(name):
    for each in describe_settings(METHODS[name]):
        assert each.meaning.strip(), each.name
        json.dumps(each.default)


@each_method
def test_defaults_are_within_their_ranges_and_survive_a_round_trip(name):
    method = METHODS[name]()
    assert from_mapping(METHODS[name], {}) == method
    assert from_mapping(METHODS[name], to_mapping(method)) == method


@each_case
def test_an_edit_can_be_run_again_from_its_settings(trained, few, name, goal):
    edit = run(trained, few, name, goal, limits=Limits(steps=2))
    again = run(trained, few, name, goal, settings=json.loads(json.dumps(edit.settings)), limits=Limits(steps=2))
    assert again.settings == edit.settings
    assert again.classifier.sha256() == edit.classifier.sha256()


@pytest.mark.parametrize("name", METHODS)
@given(data=st.data())
def test_settings_survive_a_round_trip(name, data):
    method = data.draw(settings_of(METHODS[name]))
    mapping = to_mapping(method)
    assert from_mapping(METHODS[name], mapping) == method
    assert from_mapping(METHODS[name], json.loads(json.dumps(mapping))) == method
    assert from_mapping(METHODS[name], tomllib.loads(tomli_w.dumps(mapping))) == method


@each_method
def test_networks_in_double_precision(trained, few, name):
    twin = trained.copy()
    twin.module.double()
    rows = ForgetSet(few.ids, few.x.double(), few.y, few.y_new)
    retain = TensorImages(OTHERS["retain"].ids, OTHERS["retain"].labels, OTHERS["retain"].pixels.double())
    edit = run(twin, rows, name, METHODS[name].goals[0], retain=retain, max_steps=2)
    assert all(weight.dtype == torch.float64 for weight in edit.classifier.network.parameters())


@each_method
def test_methods_run_by_themselves_too(trained, few, name):
    goal = METHODS[name].goals[0]
    retain = OTHERS["retain"] if METHODS[name].needs is Needs.FORGET_AND_RETAIN else None
    task = Task.create(trained, few, goal=GOALS[goal], limits=Limits(steps=2), retain=retain)
    method = make_method(name, ROWS[name].quick)
    edit = method.run(task, Runtime())
    assert_honest(edit)
    assert merge(edit.settings, to_mapping(method)) == edit.settings, "what was asked, and what was left open besides"


def settings_of(kind):
    """Return a strategy for all settings of a dataclass, from its types and ranges."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{item.name: _values(item, hints[item.name]) for item in fields(kind)})


def _values(item, hint):
    allowed = item.metadata.get("range", Range())
    default = item.default if item.default_factory is MISSING else item.default_factory()
    if is_dataclass(default):
        return settings_of(type(default))
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return st.one_of([_values_of(choice, allowed) for choice in choices])


def _values_of(kind, allowed):
    if kind is type(None):
        return st.none()
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    least = allowed.at_least if allowed.above is None else allowed.above
    if kind is int:
        most = 2**63 - 1 if allowed.at_most is None else int(allowed.at_most)
        return st.integers(-most if least is None else int(least), most).filter(allowed.__contains__)
    if kind is float:
        return st.floats(
            least, allowed.at_most, allow_nan=False, allow_infinity=False, exclude_min=allowed.above is not None
        )
    return st.from_type(kind)


SIZES = {"forget_batch", "batch_size", "adversarial_batch", "retain_batch", "surrogate_batch", "copies", "mixes"}


def with_default_sizes(settings):
    """Return the settings less those that say how many images go into a step."""
    return {
        name: with_default_sizes(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if name not in SIZES
    }


@pytest.fixture
def at_once(monkeypatch):
    """Return a list of how many images went through a network at once, each time that gradients were wanted.

    Where `limit` is set, as its last entry, more of them fail as on a device without memory.
    """
    seen, limit = [], []
    forward = Normalised.forward

    def watched(self, x):
        if torch.is_grad_enabled() and (x.requires_grad or any(each.requires_grad for each in self.parameters())):
            if limit and len(x) > limit[-1]:
                raise torch.OutOfMemoryError("out of memory (pretended)")
            seen.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(Normalised, "forward", watched)
    return seen, limit


@pytest.mark.filterwarnings("ignore:.*BatchNorm takes the statistics of each part")
@each_method
def test_no_more_images_go_through_at_once_than_the_runtime_allows(trained, twelve, name, at_once):
    seen, _ = at_once
    settings = with_default_sizes(ROWS[name].quick)
    run(
        trained,
        twelve,
        name,
        METHODS[name].goals[0],
        settings=settings,
        runtime=Runtime(batch_size=4),
        limits=TWO_STEPS,
    )
    assert max(seen, default=0) <= 4


@each_method
def test_where_memory_ends_the_batch_is_halved_and_the_method_goes_on(trained, twelve, name, at_once):
    seen, limit = at_once
    limit.append(3)
    settings = with_default_sizes(ROWS[name].quick)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        edit = run(trained, twelve, name, METHODS[name].goals[0], settings=settings, limits=TWO_STEPS)
    assert_honest(edit)
    assert max(seen, default=0) <= 3
    if seen:
        assert any("out of memory: going on with batches of" in str(each.message) for each in warned)
        assert edit.cost.batch_size <= 3


FROZEN = {
    "l2ul": {},
    "l2ul-faithful": {"descent": {**DESCENT, "batchnorm": "frozen"}},
    "zs-pag": {},
    "jit": {"training": {"batchnorm": "frozen"}},
    "imu": {"training": {"batchnorm": "frozen"}},
    "mu-mis": {},
    "neggrad-plus": {"training": {"batchnorm": "frozen"}},
    "ssd": {},
    "influence": {},
}
"""Methods, under settings with which no image sees another, whose parts add up to the whole."""


@pytest.mark.parametrize("name", FROZEN)
def test_halved_batches_change_nothing_where_batchnorm_is_frozen(trained, twelve, name, at_once):
    _, limit = at_once
    settings = merge(with_default_sizes(ROWS[name].quick), FROZEN[name])
    options = {"settings": settings, "limits": TWO_STEPS}
    whole = run(trained, twelve, name, METHODS[name].goals[0], **options)
    limit.append(3)
    with pytest.warns(ExpungeWarning, match="out of memory: going on with batches of"):
        parts = run(trained, twelve, name, METHODS[name].goals[0], **options)
    for point, other in zip(whole.trace, parts.trace, strict=True):
        assert other.losses == pytest.approx(point.losses, rel=1e-3, abs=1e-5)
    for one, other in zip(whole.classifier.module.parameters(), parts.classifier.module.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)
