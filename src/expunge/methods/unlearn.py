"""The library's main job in one call."""

from collections.abc import Mapping
from typing import Any

from expunge.base.errors import SettingsError
from expunge.base.settings import from_mapping
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.methods import METHODS
from expunge.methods.protocol import Method, Needs
from expunge.models.classifier import Classifier
from expunge.models.memory import fit_batch
from expunge.task.edit import Edit
from expunge.task.goals import Goal, pursued_as
from expunge.task.task import Limits, Strength, Task
from expunge.task.transforms import TRANSFORMS, Transform

DEFAULT_METHOD = "least-change"


def unlearn(  # noqa: PLR0913 - all but two are optional, and a caller reads them by name
    classifier: Classifier,
    forget_set: ForgetSet,
    *,
    goal: Goal | None = None,
    method: str | Method = DEFAULT_METHOD,
    seed: int = 0,
    limits: Limits = Limits(),
    runtime: Runtime | None = None,
    minimum_right: float = 0.5,
    strength: Strength | None = None,
    retain: Images | None = None,
    transforms: Mapping[str, Transform] = TRANSFORMS,
) -> Edit:
    """Return an edit whose classifier has forgotten every row of `forget_set`; the one given stays as it is.

    Args:
        classifier: the trained classifier.
        forget_set: k rows, pixels within the classifier's bounds.
        goal: `Misclassify()`, `Relabel()` or `Correct()`; default: relabel if the forget set has new labels.
        method: a name of `METHODS`, or a method with settings of its own.
        seed: source of all randomness; the same seed gives the same weights on the same machine.
        limits: when to give up.
        runtime: device and batch size; default: where the classifier is.
        minimum_right: share of rows that the classifier must predict as labelled before the edit.
        strength: whether the goal is to hold on transformed copies of the rows, too; default: the method's own.
        retain: the rest of the training data; only a method that declares that it needs them ever sees them.
        transforms: what makes a copy, by name; each is used alone and in pairs.

    Raises:
        ForgetSetError: classifier and forget set do not fit.
        ClassifierError: the classifier's outputs are not logits.
        DataError: retain data do not fit, or hold a row to forget.
        SettingsError: an unknown method, one that can't pursue the goal, or one that needs retain data without them;
            or a memory budget too small for one image.
    """
    chosen = make_method(method) if isinstance(method, str) else method
    needs_retain = chosen.needs is Needs.FORGET_AND_RETAIN
    if needs_retain and retain is None:
        raise SettingsError("retain", f"the rest of the training data for the method {chosen.name}", "none")
    task = Task.create(
        classifier,
        forget_set,
        goal=goal,
        seed=seed,
        limits=limits,
        minimum_right=minimum_right,
        strength=strength or chosen.strength,
        retain=retain if needs_retain else None,
        transforms=transforms,
    )
    if pursued_as(task.goal.name) not in chosen.goals:
        raise SettingsError("goal", f"{' or '.join(chosen.goals)} with the method {chosen.name}", task.goal.name)
    return chosen.run(task, fit_batch(runtime or Runtime(classifier.device), classifier, forget_set.x))


def make_method(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """Return the method of that name with `settings` (nested values) over its defaults.

    Raises:
        SettingsError: the method or a setting is unknown, or a value doesn't fit.

    >>> make_method("l2ul", {"attack": {"radius": 2}}).attack.radius
    2
    """
    if name not in METHODS:
        raise SettingsError("method", f"one of {', '.join(METHODS)}", name)
    return from_mapping(METHODS[name], settings or {})
