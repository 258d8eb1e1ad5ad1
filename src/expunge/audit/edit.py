"""The audit of an edit that was just made, with everything that it already knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from expunge.audit.record import Subject
from expunge.audit.run import Comparison, Known
from expunge.data.images import Images
from expunge.task.edit import Edit


@dataclass(frozen=True, slots=True)
class Origin:
    """Where classifier and images come from, for the reader.

    Args:
        architecture: of the classifier, as it was asked for.
        data: the source of the images, as it was asked for.
        class_names: one a class.
        notes: what was noticed about the images.
        result: of the edit, as it was saved.
        whole: the parts of which every image there is was asked.
    """

    architecture: str
    data: str
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    whole: tuple[str, ...] = ("forget",)


def compare_edit(edit: Edit, images: Mapping[str, Images], origin: Origin, known: Known) -> Comparison:
    """Return the comparison of an edit's classifier with the one that it was made from.

    Args:
        edit: the edit.
        images: retain and test images, where there are any.
        origin: of classifier and images.
        known: what was measured before.
    """
    task = edit.task
    before, after = (
        {"architecture": origin.architecture, "weights_sha256": classifier.sha256()}
        for classifier in (task.classifier, edit.classifier)
    )
    subject = Subject(
        before=before,
        after=after,
        data=origin.data,
        forget_sha256=task.forget_set.sha256(),
        goal=task.goal.name,
        class_names=origin.class_names,
        sizes={"forget": len(task.forget_set), **{name: len(each.labels) for name, each in images.items()}},
        used_by_edit=edit.used,
        method=edit.method,
        settings=edit.settings,
        forgotten_class=origin.result.get("forgotten_class", ""),
    )
    return Comparison(
        before=task.classifier,
        after=edit.classifier,
        rows=task.forget_set,
        goal=task.goal,
        goal_labels=task.labels,
        allowed=task.allowed,
        images=images,
        subject=told_by(subject, origin.result),
        seed=task.seed,
        transforms=task.transforms,
        known=known,
        whole=origin.whole,
        notes=origin.notes,
    )


def told_by(subject: Subject, result: Mapping[str, Any]) -> Subject:
    """Return the subject with what an edit's result says of it: reference, time, and what became of the edit."""
    reference, finished, outcome = (str(result.get(name, "")) for name in ("reference", "finished", "outcome"))
    return replace(subject, reference=reference, finished=finished, outcome=outcome)
