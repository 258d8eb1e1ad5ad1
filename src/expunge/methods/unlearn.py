"""The library's main job in one call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from time import perf_counter
from typing import Any

import torch
from torch import nn

from expunge.base.errors import SettingsError
from expunge.base.settings import from_mapping, merge, nest, to_mapping
from expunge.compute.context import Context
from expunge.compute.processes import ALONE
from expunge.compute.runtime import Progress, Runtime
from expunge.compute.time_limit import TimedProgress, TimeUp
from expunge.methods import METHODS, make_method
from expunge.methods.arguments import (
    Where,
    check_share,
    note_new_labels,
    read_goal,
    read_inputs,
    read_limits,
    read_seed,
    read_strength,
    read_transforms,
    refuse_unknown,
)
from expunge.methods.guarded import run_guarded
from expunge.methods.protocol import Method, Needs, goes_on
from expunge.methods.table import DEFAULT_METHOD, check_method
from expunge.models.classifier import Classifier
from expunge.models.memory import fit_batch
from expunge.models.modes import in_ordinary_modes
from expunge.task.earlier import Earlier
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Goal, Unseen, achieved, pursued_as
from expunge.task.task import Limits, StopReason, Strength, Task
from expunge.task.transforms import Transform
from expunge.task.unseen import find_allowed
from expunge.task.words import CORRECT


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during an edit; `edit` holds the best state until then."""

    def __init__(self, edit: Edit) -> None:
        super().__init__(f"interrupted after {edit.steps} steps; the best state is this error's `edit`")
        self.edit = edit


@in_ordinary_modes
def unlearn(  # noqa: PLR0913 - all but two are optional, and a caller reads them by name
    model: Classifier | nn.Module,
    forget: Any,  # noqa: ANN401 - what people have, see below
    *,
    indices: Any = None,  # noqa: ANN401
    new_labels: Any = None,  # noqa: ANN401
    goal: str | Goal | None = None,
    method: str | Method = DEFAULT_METHOD,
    seed: int = 0,
    limits: Limits = Limits(),
    max_steps: int | None = None,
    max_seconds: float | None = None,
    runtime: Runtime | None = None,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    progress: bool | Progress | None = None,
    minimum_right: float = 0.5,
    strength: str | Strength | None = None,
    retain: Any = None,  # noqa: ANN401
    transforms: str | Sequence[str] | Mapping[str, Transform] | None = None,
    earlier: Earlier | None = None,
    **settings: Any,  # noqa: ANN401 - the method's own, of any type
) -> Edit:
    """Return an edit whose classifier has forgotten what `forget` and `indices` name; the one given stays as it is.

    It may be called under `no_grad`, `inference_mode` or autocast.

    Args:
        model: the trained classifier; or a network, of which timm and transformers know how it wants its images.
        forget: a `ForgetSet`; or images and labels: two tensors or arrays, a torch `Dataset`, a `DataLoader`, a data
            frame of paths and labels, or a dataset of Hugging Face.
        indices: which of them, as numbers, a mask, text such as "3,17,40-45", or the issues that cleanlab found (a
            frame or its CSV), whose predicted labels become the new ones; default: all.
        new_labels: the label that each of these images is to get, or one for all.
        goal: "misclassify", "relabel", "correct" (mistakes get the label in the data) or "unseen" (as uncertain as of
            images never seen), or an object; default: relabel if there are new labels.
        method: a name of `METHODS`, or a method with settings of its own.
        seed: source of all randomness; the same seed gives the same weights on the same processor, and on a GPU if the
            runtime is deterministic.
        limits: when to give up.
        max_steps: the same, said singly.
        max_seconds: the same.
        runtime: device, batch size and progress in one; default: where the classifier is.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        batch_size: images in one pass.
        progress: whether to show how far it has come, or an object that does; default: in notebooks.
        minimum_right: share of rows that the classifier must predict as labelled before the edit.
        strength: "exact", or "robust": the goal is to hold on transformed copies, too; default: the method's own, but
            exact with the goal unseen, where robust edits lower the leads further than was estimated.
        retain: the rest of the training data, in the forms of `forget`; only a method that declares that it needs them
            ever sees them. Of the very object that `forget` is, the rows to forget are left out.
        transforms: what makes a copy, by name; each is used alone and in pairs.
        earlier: what earlier edits left, for a method that goes on from them (`least-change`): they stay forgotten,
            and the edit charges for the whole change since the first classifier.
        **settings: of the method, over its defaults: `attack={"radius": 2}`, or `attack__radius=2`.

    Raises:
        ForgetSetError: classifier and forget set do not fit.
        ClassifierError: the classifier's outputs are not logits.
        DataError: what was given holds no images, or retain data do not fit, or hold a row to forget.
        SettingsError: a seed, limit or share that is none; an unknown method, goal, strength, device or setting; a goal
            that the method can't pursue, retain data that it needs and lacks, or a memory budget too small for one
            image.
        Interrupted: Ctrl-C while steps are taken; the error holds the best state as an edit.

    Warns:
        ExpungeWarning: a goal that is named needs new labels and they are drawn, or has no use for those given; or a
            method claims what does not hold for the classifier that it returns.
    """
    chosen = _choose_method(method, settings, retain)
    wanted, wanted_strength, wanted_transforms = read_goal(goal), read_strength(strength), read_transforms(transforms)
    seed = read_seed(seed)
    check_share(minimum_right)
    where, limits = Where(runtime, device, batch_size, progress), read_limits(limits, max_steps, max_seconds)
    given = read_inputs(model, forget, indices, new_labels, correcting=goal == CORRECT)
    if isinstance(goal, str):
        note_new_labels(wanted, given.forget_set)
    place = where.runtime_for(given.classifier)
    task = Task.create(
        given.classifier,
        given.forget_set,
        goal=wanted,
        seed=seed,
        limits=limits,
        minimum_right=minimum_right,
        strength=wanted_strength or (Strength.EXACT if isinstance(wanted, Unseen) else chosen.strength),
        retain=given.rest_of(retain, forget) if chosen.needs is Needs.FORGET_AND_RETAIN else None,
        transforms=wanted_transforms,
        at_once=place.sharing,
        earlier=earlier if goes_on(chosen) else None,
    )
    return _carry_out(chosen, task, place)


def _carry_out(method: Method, task: Task, runtime: Runtime) -> Edit:
    """Return the method's edit of the task, with as many images at once as fit into memory.

    Raises:
        SettingsError: the method can't pursue the goal, or not even one image fits.
        Interrupted: Ctrl-C; of several processes, the others are still at work on the edit, and it is returned.
    """
    _check_goal(method, task.goal)
    with runtime.computing():
        edit = _run_in_time(method, task, fit_batch(runtime, task.classifier, task.forget_set.x))
    if edit.stop_reason is StopReason.INTERRUPTED and runtime.processes is ALONE:
        raise Interrupted(edit)
    return edit


def _run_in_time(method: Method, task: Task, runtime: Runtime) -> Edit:
    """Return the method's edit; of one whose time is over before its first step, the classifier as it was.

    Of several processes each has its own clock, and they must go on alike: there the limit holds between steps only.
    """
    seconds = task.limits.seconds
    if seconds is None or runtime.processes is not ALONE:
        return _run(method, task, runtime)
    context = Context(runtime)
    try:
        return _run(method, task, replace(runtime, progress=TimedProgress(runtime.progress, perf_counter() + seconds)))
    except TimeUp:
        logits = compute_logits(task.classifier, task.forget_set.x, runtime.sharing)
        holds = achieved(task.goal, logits, task.labels.to(logits.device)).cpu()
        copy, settings = task.classifier.copy(), to_mapping(method)
        return Edit(task, copy, method.name, settings, StopReason.TIME_LIMIT, 0, (), context.cost(), holds)


def _run(method: Method, task: Task, runtime: Runtime) -> Edit:
    allowed = find_allowed(task.goal, task.classifier, task.forget_set, task.seed, runtime)
    return run_guarded(method, replace(task, allowed=allowed), runtime)


def _check_goal(method: Method, goal: Goal) -> None:
    if pursued_as(goal.name) not in method.goals:
        raise SettingsError("goal", f"{' or '.join(method.goals)} with the method {method.name}", goal.name)


def _choose_method(method: str | Method, settings: Mapping[str, Any], retain: object) -> Method:
    """Return the method of that name, or the one given, with `settings` over its own.

    Raises:
        SettingsError: an unknown method or setting, an object that is none, or no retain data for one that needs them.
    """
    if not isinstance(method, str):
        check_method(method)
    nested = nest({name.replace("__", "."): value for name, value in settings.items()})
    kind = METHODS.get(method) if isinstance(method, str) else type(method)
    if kind is not None:
        refuse_unknown(nested, kind, [name for name in signature(unlearn).parameters if name != "settings"])
    if isinstance(method, str):
        chosen = make_method(method, nested)
    else:
        chosen = from_mapping(type(method), merge(to_mapping(method), nested)) if nested else method
    if chosen.needs is Needs.FORGET_AND_RETAIN and retain is None:
        raise SettingsError("retain", f"the rest of the training data for the method {chosen.name}", "none")
    return chosen
