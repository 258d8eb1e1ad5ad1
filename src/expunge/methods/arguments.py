"""What `unlearn` is called with, as people have it, made into what the rest of the package works on."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from expunge.base.errors import ExpungeWarning, ForgetSetError, SettingsError, suggest
from expunge.base.settings import describe_settings
from expunge.base.values import check_type
from expunge.compute.bars import Bars, in_notebook
from expunge.compute.runtime import SILENT, Progress, Runtime
from expunge.data.collect import collect_forget_set
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.data.objects import images_of, normalisation_of
from expunge.data.preprocessing import AS_IS
from expunge.data.reading import Reading
from expunge.methods.protocol import Method
from expunge.models.channels import in_its_channels
from expunge.models.classifier import Classifier
from expunge.models.pixels import Normalisation
from expunge.models.recognise import classifier_of, recognise
from expunge.task.evaluation import compute_logits
from expunge.task.goals import GOALS, Goal, Relabel, check_labels
from expunge.task.task import Limits, Strength
from expunge.task.transforms import TRANSFORMS, Transform, check_copies, find_transforms


@dataclass(frozen=True, slots=True)
class Given:
    """A classifier, a forget set, and how further images are read that belong to them."""

    classifier: Classifier
    forget_set: ForgetSet
    reading: Reading

    def correcting(self) -> "Given":
        """Return the rows with the classifier's answers as labels to leave, and their own labels as new ones."""
        rows = self.forget_set
        answers = compute_logits(self.classifier, rows.x).argmax(dim=1).to(rows.y.device)
        return replace(self, forget_set=as_mistakes(rows, answers))

    def rest_of(self, retain: Any, forget: Any) -> Images:  # noqa: ANN401 - what people have
        """Return the images of `retain`; of the forget set's own data set, all but its rows."""
        if retain is not forget:
            return images_of(retain, reading=self.reading)
        gone = set(self.forget_set.ids)
        every = images_of(retain, reading=self.reading)
        kept = [row for row, name in enumerate(every.ids) if name not in gone]
        return images_of(every, lambda count: kept)


def as_mistakes(rows: ForgetSet, answers: Int[Tensor, " k"]) -> ForgetSet:
    """Return rows that a classifier gets wrong, to be moved from its answers to their labels.

    Raises:
        ForgetSetError: it gets some right.
    """
    right = (answers == rows.y).nonzero().flatten().tolist()
    if right:
        names = ", ".join(rows.ids[row] for row in right[:5]) + (", ..." if len(right) > 5 else "")
        found = f"{len(right)} of {len(rows)} that it answers correctly already: {names}"
        raise ForgetSetError(
            "goal", "images that the classifier answers wrongly, to correct them", found, "leave them out"
        )
    return ForgetSet(rows.ids, rows.x, answers, rows.y)


def read_inputs(
    model: Classifier | nn.Module,
    forget: Any,  # noqa: ANN401 - what people have
    indices: Any,  # noqa: ANN401
    new_labels: Any,  # noqa: ANN401
    *,
    correcting: bool = False,
) -> Given:
    """Return the classifier and the forget set that `unlearn` was given; see there.

    If `correcting`, the rows are labelled as `Given.correcting` says.

    Raises:
        ExpungeError: either isn't what it should be.
    """
    known = recognise(model)
    normalisation = normalisation_of(forget)
    channels = AS_IS if isinstance(model, Classifier) else in_its_channels(AS_IS, model, Normalisation())
    reading = Reading(channels, normalisation=normalisation) if known is None else reading_for(known, normalisation)
    rows = _in_number_format_of(
        model, collect_forget_set(forget, indices=indices, new_labels=new_labels, reading=reading)
    )
    if rows.x.is_inference() or rows.y.is_inference():  # a copy can have a part in a gradient
        rows = rows.rows(range(len(rows)))
    own = None if normalisation is None else Normalisation(*normalisation)
    given = Given(classifier_of(model, rows.x, own), rows, reading)
    check_labels(given.forget_set, given.classifier.num_classes)
    return given.correcting() if correcting else given


def reading_for(
    classifier: Classifier, normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
) -> Reading:
    """Return how images are read for a classifier; of a dataset that normalises them, this is taken back."""
    bounds, label = classifier.bounds, getattr(classifier.module, "label", None)
    names = classifier.class_names
    return Reading(classifier.preprocessing, names, label, bounds.lower, bounds.upper, normalisation)


def _in_number_format_of(model: Classifier | nn.Module, rows: ForgetSet) -> ForgetSet:
    """Return the rows with pixels in float64 for a network of such weights, and in float32 for all others."""
    weight = next((model.module if isinstance(model, Classifier) else model).parameters(), None)
    wanted = torch.float64 if weight is not None and weight.dtype == torch.float64 else torch.float32
    return rows if rows.x.dtype == wanted else replace(rows, x=rows.x.to(wanted))


def read_goal(goal: str | Goal | None) -> Goal | None:
    """Return the goal of that name; None for the default.

    Raises:
        SettingsError: an unknown name.
    """
    if not isinstance(goal, str) or goal == "auto":
        return None if isinstance(goal, str) else goal
    if goal not in GOALS:
        raise SettingsError("goal", f"one of {', '.join((*GOALS, 'auto'))}", goal)
    return GOALS[goal]


def note_new_labels(goal: Goal | None, rows: ForgetSet) -> None:
    """Say where new labels are missing, or of no use.

    Warns:
        ExpungeWarning: the goal needs some and they are drawn, or it has no use for those given.
    """
    if isinstance(goal, Relabel) and rows.y_new is None:
        note = "no new labels are given, so they are drawn at random; a column new_label, or new_labels=, says them"
        warnings.warn(note, ExpungeWarning, stacklevel=4)
    elif goal is not None and not isinstance(goal, Relabel) and rows.y_new is not None:
        note = f"the new labels are not used: the goal is {goal.name}; they are for relabel"
        warnings.warn(note, ExpungeWarning, stacklevel=4)


def refuse_unknown(settings: Mapping[str, Any], kind: type[Method], arguments: Iterable[str]) -> None:
    """Check that keyword arguments that the method has no table or setting for were not meant for `unlearn` itself.

    Args:
        settings: nested values by the names that were given.
        kind: the method.
        arguments: what `unlearn` takes by name.

    Raises:
        SettingsError: one is neither, and near an argument.
    """
    described = [each.name for each in describe_settings(kind)]
    known = {name.partition(".")[0] for name in described} | {item.metadata.get("formerly") for item in fields(kind)}  # type: ignore[arg-type]
    for name in settings:
        near = suggest(name, arguments)
        if name not in known and near and near == suggest(name, [*arguments, *described]):
            raise SettingsError(name, f"an argument of unlearn, or a setting of {kind.name}", "an unknown one", near)


def read_strength(strength: str | Strength | None) -> Strength | None:
    """Return the strength of that name.

    Raises:
        SettingsError: an unknown name.
    """
    if strength is None or strength in list(Strength):
        return None if strength is None else Strength(strength)
    raise SettingsError("strength", f"one of {', '.join(Strength)}", repr(strength))


def read_transforms(transforms: str | Sequence[str] | Mapping[str, Transform] | None) -> Mapping[str, Transform]:
    """Return transforms by name, given as they are, as a list of names, or as text with commas.

    Raises:
        SettingsError: an unknown name, or none at all.
    """
    if transforms is None:
        return TRANSFORMS
    if isinstance(transforms, Mapping) and transforms:
        return {name: check_copies(name, function) for name, function in transforms.items()}
    return find_transforms(tuple(transforms.split(",") if isinstance(transforms, str) else transforms))


def read_seed(seed: int) -> int:
    """Return the seed as a plain number.

    Raises:
        SettingsError: it is no whole number, or below 0.
    """
    plain: int = _plain(seed)
    check_type("seed", plain, int)
    if plain < 0:
        raise SettingsError("seed", "at least 0", str(plain))
    return plain


def check_share(minimum_right: float) -> None:
    """Check that `minimum_right` is a share.

    Raises:
        SettingsError: it isn't.
    """
    plain: float = _plain(minimum_right)
    check_type("minimum_right", plain, float)
    if not 0 <= plain <= 1:
        hint = f"as a share, {plain:g}% is {plain / 100:g}" if 1 < plain <= 100 else ""
        raise SettingsError("minimum_right", "at least 0 and at most 1", str(plain), hint)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return a number of NumPy as one of Python, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def read_limits(limits: Limits, max_steps: int | None, max_seconds: float | None) -> Limits:
    """Return `limits` with what else was said.

    Raises:
        SettingsError: both ways of saying it were used, or a value is of another type or out of range.
    """
    max_steps, max_seconds = _plain(max_steps), _plain(max_seconds)
    check_type("max_steps", max_steps, int | None)
    check_type("max_seconds", max_seconds, float | None)
    if max_steps is None and max_seconds is None:
        return limits
    if limits != Limits():
        raise SettingsError("limits", "limits=, or max_steps= and max_seconds=", "both")
    return Limits(max_steps, max_seconds)


@dataclass(frozen=True, slots=True)
class Where:
    """On which device, in which batches and before whose eyes `unlearn` is to work; None for what the rest says.

    Raises:
        SettingsError: a device that this machine lacks, a batch size that is no number, or progress that shows none.
    """

    runtime: Runtime | None = None
    device: str | torch.device | None = None
    batch_size: int | None = None
    progress: bool | Progress | None = None

    def __post_init__(self) -> None:
        if self.device is not None:
            Runtime.on(str(self.device))
        check_type("batch_size", _plain(self.batch_size), int | None)
        if not (self.progress is None or isinstance(self.progress, bool) or hasattr(self.progress, "phase")):
            raise SettingsError("progress", "True, False or an object with `phase`", repr(self.progress))

    def runtime_for(self, classifier: Classifier) -> Runtime:
        """Return the runtime: on the classifier's device, and silent outside of notebooks, unless told otherwise."""
        runtime = self.runtime or Runtime(classifier.device, progress=Bars() if in_notebook() else SILENT)
        if self.device is not None:
            runtime = replace(runtime, device=Runtime.on(str(self.device)).device)
        if self.batch_size is not None:
            runtime = replace(runtime, batch_size=self.batch_size)
        if self.progress is None:
            return runtime
        shown = (Bars() if self.progress else SILENT) if isinstance(self.progress, bool) else self.progress
        return replace(runtime, progress=shown)
