"""An audit from beginning to end: measure, compute, write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from expunge._version import __version__
from expunge.audit.audit_json import read_audit
from expunge.audit.collect.collected import Gathered, Retrained, Shadows
from expunge.audit.collect.deep import Scene, look_closer
from expunge.audit.figures.declared import declared_figures
from expunge.audit.figures.table import FIGURES, choose_headline, compute_figures
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.predicted import Part
from expunge.audit.metrics.weights import Shift, weight_shift
from expunge.audit.record import Audit, Level, Subject
from expunge.audit.store.archive import read_gathered, write_gathered
from expunge.audit.store.files import clear_folder
from expunge.audit.store.folder import write_audit, write_pictures, write_tables
from expunge.audit.verdict import LIMITS, conclude
from expunge.base.errors import ClassifierError, DataError
from expunge.compute.context import Cost
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.models.classifier import Classifier
from expunge.task.evaluation import COPIES_PER_ROW, RobustGoal, compute_logits, measure_robust_goal, predict_each
from expunge.task.expected import ExpectedCost
from expunge.task.goals import Goal, check_labels, true_labels
from expunge.task.transforms import TRANSFORMS, Transform
from expunge.task.words import UNSEEN


@dataclass(frozen=True, slots=True)
class Answers:
    """Logits of both classifiers on the images of one part."""

    before: Float[Tensor, "n classes"]
    after: Float[Tensor, "n classes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was found out before and need not be again.

    Args:
        answers: of parts that were predicted already.
        copies: how well the goal holds on copies of the rows.
        cost: what the edit took.
        expected: what it should cost on other images, from surrogates.
        shadows: logits of shadow classifiers.
        retrained: logits of retrained classifiers.
        retrained_classifiers: those themselves, for their features and relearning.
    """

    answers: Mapping[str, Answers] = field(default_factory=dict)
    copies: RobustGoal | None = None
    cost: Cost | None = None
    expected: ExpectedCost | None = None
    shadows: Shadows | None = None
    retrained: Retrained | None = None
    retrained_classifiers: Sequence[Classifier] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two classifiers of any origin, and the images to compare them on.

    Args:
        before: the classifier as it was.
        after: the edited one: the same classes and pixel bounds, any architecture.
        rows: the forgotten rows.
        goal: what should hold for them.
        goal_labels: (k,) the labels that the goal speaks of.
        images: retain, test and class, where there are any.
        whole: the parts of which every image there is was asked.
        allowed: (k,) logits by which each row may fall short of the goal's boundary; None: none may.
        subject: what a reader should know about all of it.
        seed: source of all randomness.
        transforms: what makes a copy, by name.
        known: what was found out before.
        notes: what a reader should know about the inputs.

    Raises:
        ClassifierError: the classifiers differ in their classes or bounds.
        ForgetSetError: a label is no class of theirs.
        DataError: a forgotten row is among the other images.
    """

    before: Classifier
    after: Classifier
    rows: ForgetSet
    goal: Goal
    goal_labels: Int[Tensor, " k"]
    images: Mapping[str, Images]
    subject: Subject
    seed: int = 0
    transforms: Mapping[str, Transform] = field(default_factory=lambda: TRANSFORMS)
    known: Known = field(default_factory=Known)
    notes: tuple[str, ...] = ()
    whole: tuple[str, ...] = ("forget",)
    allowed: Float[Tensor, " k"] | None = None

    def __post_init__(self) -> None:
        if self.before.num_classes != self.after.num_classes:
            raise ClassifierError("after", f"{self.before.num_classes} classes, as before", str(self.after.num_classes))
        if self.before.bounds != self.after.bounds:
            raise ClassifierError("after", f"pixels within {self.before.bounds}, as before", str(self.after.bounds))
        check_labels(self.rows, self.before.num_classes)
        forgotten = set(self.rows.ids)
        shared = [name for name in self.images["retain"].ids if name in forgotten] if "retain" in self.images else []
        if shared:
            raise DataError("retain", "none of the images to forget", f"{len(shared)} of them: {', '.join(shared[:5])}")


def run_audit(comparison: Comparison, out: Path, *, level: Level, pictures: bool, runtime: Runtime) -> Audit:
    """Measure, write everything to `out`, and return the audit.

    Args:
        comparison: what is compared.
        out: the folder; what an earlier audit left there is replaced, other files stay.
        level: quick or full.
        pictures: whether the forgotten images become part of the folder.
        runtime: device, batch size, progress.

    Raises:
        ClassifierError: answers that are not finite.
        OutputError: a file can't be written.
        SettingsError: another package declares a figure that is none, which is said before anything is measured.
    """
    declared_figures(FIGURES)
    comparison = replace(
        comparison,
        before=comparison.before.to(runtime.device),
        after=comparison.after.to(runtime.device),
        rows=comparison.rows.to(runtime.device),
    )
    rows = comparison.rows
    drawable = pictures and rows.x.shape[1] in (1, 3)
    with runtime.computing():
        data = replace(gather(comparison, level=level, runtime=runtime), pictures=drawable)
    clear_folder(out)
    if drawable:
        write_pictures(out, rows.x, comparison.before.bounds, data)
    write_gathered(out, data)
    left_out = () if drawable else ("The pictures that the goal speaks of are not part of this folder.",)
    notes = comparison.notes + left_out
    return _conclude(out, data, level=level.value, subject=comparison.subject, notes=notes)


def recompute_audit(folder: Path) -> Audit:
    """Compute figures, tables and verdict again from what an audit stored in `folder`; return the new audit.

    The pictures stay, and so does whatever was gathered; neither classifiers nor images are needed.

    Raises:
        DataError: there is no audit, or a file of it is missing or damaged.
        OutputError: a file can't be written.
    """
    old, data = read_audit(folder), read_gathered(folder)
    return _conclude(folder, data, level=old.level, subject=old.subject, notes=old.notes)


def _conclude(out: Path, data: Gathered, *, level: str, subject: Subject, notes: tuple[str, ...]) -> Audit:
    """Write everything that follows from what was gathered."""
    tables = write_tables(out, data)
    figures = compute_figures(data)
    outcome, verdict = conclude(data, figures, subject.outcome)
    audit = Audit(
        folder=out,
        version=__version__,
        level=level,
        seed=data.seed,
        subject=subject,
        verdict=verdict,
        outcome=outcome,
        headline=choose_headline(figures),
        figures=figures,
        tables=tables,
        notes=notes,
        limits=LIMITS,
    )
    write_audit(audit)
    return audit


def gather(comparison: Comparison, *, level: Level, runtime: Runtime) -> Gathered:
    """Return everything that figures are computed from.

    Raises:
        DataError: answers that are not finite, or of other rows.
    """
    known, subject = comparison.known, comparison.subject
    comparison = replace(comparison, rows=_as_in_data(comparison))
    parts = {"forget": _predict_rows(comparison, runtime)}
    for name, images in comparison.images.items():
        found = known.answers.get(name) or _predict_images(comparison, images, name, runtime)
        parts[name] = _to_part(name, images.ids, images.labels, found)
    deep = None
    if level is Level.FULL:
        deep = look_closer(
            Scene(
                before=comparison.before,
                after=comparison.after,
                rows=comparison.rows,
                right={name: part.before.argmax(axis=1) == part.labels for name, part in parts.items()},
                images=comparison.images,
                retrained=known.retrained_classifiers,
                seed=comparison.seed,
                runtime=runtime,
            )
        )
    return Gathered(
        goal=comparison.goal.name,
        goal_labels=comparison.goal_labels.cpu().numpy(),
        parts=parts,
        copies=known.copies or _measure_copies(comparison, comparison.after, runtime),
        copies_before=_measure_copies_before(comparison, runtime),
        seed=comparison.seed,
        shifts=_shifts(comparison),
        cost=known.cost,
        deep=deep,
        shadows=known.shadows,
        retrained=known.retrained,
        forgotten_class=subject.forgotten_class,
        whole=comparison.whole,
        expected=known.expected,
        used=subject.used_by_edit,
        allowed=None if comparison.allowed is None else comparison.allowed.cpu().numpy(),
    )


def _as_in_data(comparison: Comparison) -> ForgetSet:
    """Return the rows with their labels in the data, which is what figures, tables and pictures show."""
    rows = comparison.rows
    return ForgetSet(rows.ids, rows.x, true_labels(comparison.goal, rows))


def _predict_rows(comparison: Comparison, runtime: Runtime) -> Part:
    rows = comparison.rows
    both = [compute_logits(classifier, rows.x, runtime.sharing) for classifier in (comparison.before, comparison.after)]
    return _to_part("forget", rows.ids, rows.y, Answers(*both))


def _predict_images(comparison: Comparison, images: Images, name: str, runtime: Runtime) -> Answers:
    return Answers(*predict_each((comparison.before, comparison.after), images, runtime, name=name))


def _to_part(name: str, ids: Sequence[str], labels: Tensor, found: Answers) -> Part:
    before, after = (np.asarray(each.detach().cpu().float().numpy()) for each in (found.before, found.after))
    return Part(name, tuple(ids), labels.cpu().numpy(), before, after)


def _measure_copies_before(comparison: Comparison, runtime: Runtime) -> RobustGoal | None:
    """Return how well the goal held on copies before the edit; None where it is about what the edit changes."""
    return None if comparison.goal.name == UNSEEN else _measure_copies(comparison, comparison.before, runtime)


def _measure_copies(comparison: Comparison, classifier: Classifier, runtime: Runtime) -> RobustGoal:
    """Return how well the goal holds on copies: the same ones for every classifier."""
    with runtime.progress.phase("copies", COPIES_PER_ROW) as advance:
        return measure_robust_goal(
            classifier,
            comparison.rows.x,
            comparison.goal_labels,
            comparison.goal,
            generator=seeded_generator(comparison.seed, "robust goal"),
            transforms=comparison.transforms,
            at_once=runtime.sharing,
            before=comparison.before,
            allowed=comparison.allowed,
            advance=advance,
        )


def _shifts(comparison: Comparison) -> tuple[Shift, ...] | None:
    try:
        return weight_shift(comparison.before.network.state_dict(), comparison.after.network.state_dict())
    except NotDefinedError:
        return None
