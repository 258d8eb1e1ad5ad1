"""A whole job from files to files: load, select, unlearn, measure, save."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from expunge.api import DEFAULT_METHOD, make_method, unlearn
from expunge.audit.places import AUDIT_FOLDER, clear_folder
from expunge.audit.record import Audit, Level
from expunge.classifier import Classifier
from expunge.copies import TRANSFORMS, find_transforms
from expunge.data import DataRequest, DataSplits, forget_set, load_data, random_rows, rows_from_numbers, rows_from_table
from expunge.edit import Edit, Measured
from expunge.errors import SettingsError
from expunge.files import prepare_output_folder
from expunge.forget import ForgetSet
from expunge.goals import GOALS, Goal
from expunge.images import Images, Subset
from expunge.layout import choose_layout
from expunge.measurement import Predictions, RobustGoal, predict, predict_logits, to_predictions
from expunge.models import LoadedClassifier, ModelSource, load_classifier
from expunge.preprocessing import Preprocessing
from expunge.runtime import Progress, Runtime
from expunge.settings import check_settings, setting, to_mapping
from expunge.sharing import Sharing
from expunge.task import Limits, StopReason, Strength, seeded_generator


class GoalChoice(StrEnum):
    """What the forget rows are to do."""

    AUTO = "auto"
    """Relabel if the table has new labels, otherwise misclassify."""
    MISCLASSIFY = "misclassify"
    RELABEL = "relabel"
    CORRECT = "correct"
    """Answer with the label in the data where the classifier is wrong now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """Which classifier."""

    architecture: str = setting(
        "", "timm:NAME, torchvision:NAME, transformers:NAME, cifar:NAME or package.module:function"
    )
    weights: str | None = setting(None, "safetensors or weights_only checkpoint; or `pretrained`")
    num_classes: int | None = setting(None, "number of classes, where the weights don't say", at_least=2)
    mean: tuple[float, ...] | None = setting(None, "what is subtracted from pixels in 0..1, one value or one a channel")
    std: tuple[float, ...] | None = setting(None, "what pixels are then divided by")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPart:
    """Which images; the forget rows come from the training part."""

    source: str = setting("", "KIND:PLACE, such as npz:FILE or imagenet:ROOT; see docs/data.md")
    table: str | None = setting(None, "CSV table of a folder: path, label, optional id and new_label")
    resize: int | None = setting(None, "pixels of the shorter side, in place of the classifier's own", at_least=1)
    crop: int | None = setting(None, "pixels of the centre square, in place of the classifier's own", at_least=1)
    retain_rows: int = setting(5000, "rows of the retain data to measure on, drawn at random; 0 for none", at_least=0)
    test_rows: int = setting(10_000, "rows of the test data to measure on, drawn at random; 0 for none", at_least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPart:
    """Which rows; exactly one of the three."""

    table: str | None = setting(None, "CSV with a column id or path, and optionally new_label")
    rows: str | None = setting(None, "row numbers and ranges of the training part, such as 3,17,40-45")
    random: int | None = setting(None, "that many rows drawn at random with the seed", at_least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPart:
    """What is looked at beyond the result's own figures."""

    level: Level = setting(Level.NONE, "none; quick: answers, copies, weights; full: all that the data allow")
    images: bool = setting(True, "whether the forgotten images become part of the audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that `expunge run` is told, as a job.toml holds it."""

    model: ModelPart = field(default_factory=ModelPart)
    data: DataPart = field(default_factory=DataPart)
    forget: ForgetPart = field(default_factory=ForgetPart)
    audit: AuditPart = field(default_factory=AuditPart)
    goal: GoalChoice = setting(GoalChoice.AUTO, "what the forget rows are to do")
    method: str = setting(DEFAULT_METHOD, "see `expunge methods`")
    settings: Mapping[str, Any] = field(default_factory=dict, metadata={"meaning": "the method's settings"})
    seed: int = setting(0, "source of all randomness", at_least=0)
    max_steps: int | None = setting(None, "give up after that many steps; default: the method's own limit", at_least=1)
    max_seconds: float | None = setting(None, "give up after that many seconds", above=0)
    minimum_right: float = setting(
        0.5, "share of forget rows that the classifier must predict as labelled", at_least=0, at_most=1
    )
    strength: Strength | None = setting(None, "exact pixels, or robust to copies; default: the method's own")
    transforms: tuple[str, ...] = setting(
        tuple(TRANSFORMS), "what copies go through, alone and in pairs; or functions package.module:function"
    )
    device: str = setting("auto", "cpu, cuda, cuda:1, mps, or auto")
    batch_size: int = setting(256, "images in one pass", at_least=1)
    devices: int = setting(1, "processes on each machine, each with a device of its own", at_least=1)
    nodes: int = setting(1, "machines; start with torchrun on more than one", at_least=1)
    memory_gigabytes: float | None = setting(
        None, "memory for activations and adversarial examples; batches are made to fit", above=0
    )

    def __post_init__(self) -> None:
        for part in (self.model, self.data, self.forget, self.audit, self):
            check_settings(part)
        for name, value in (("model", self.model.architecture), ("data", self.data.source)):
            if not value:
                raise SettingsError(name, "a source", "none", f"say --{name} KIND:NAME")
        given = [value for value in (self.forget.table, self.forget.rows, self.forget.random) if value is not None]
        if len(given) != 1:
            raise SettingsError("forget", "one of --forget, --forget-rows and --forget-random", f"{len(given)} of them")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished job: the edit, what was measured, the result as saved, notes on the data, and the audit, if any.

    Of several processes, all but the first have an empty result: they save nothing.
    """

    edit: Edit
    measured: Mapping[str, Measured]
    result: Mapping[str, Any]
    notes: tuple[str, ...]
    audit: Audit | None = None


@dataclass(frozen=True, slots=True)
class JobInputs:
    """What a job works on: the classifier, the images, the rows to forget, and the goal if it is not the default."""

    loaded: LoadedClassifier
    splits: DataSplits
    rows: list[int]
    forget_set: ForgetSet
    goal: Goal | None


@dataclass(frozen=True, slots=True)
class _Seen:
    images: Mapping[str, Images]
    logits: Mapping[str, tuple[Tensor, Tensor]]
    robust: RobustGoal


def run_job(job: Job, out: Path, *, progress: Progress, overwrite: bool) -> Outcome:
    """Run `job` and save its result to `out`; files there are written only once the edit is there.

    Raises:
        ExpungeError: anything about the job, its inputs or the folder is not as it should be.
    """
    method = make_method(job.method, job.settings)
    transforms = find_transforms(job.transforms)
    runtime = Runtime.on(job.device, batch_size=job.batch_size, progress=progress).joined(job.devices, job.nodes)
    if runtime.leads:
        prepare_output_folder(out, overwrite=overwrite)
    runtime = replace(runtime, memory_gigabytes=job.memory_gigabytes, scratch=out if runtime.leads else None)
    inputs = _arranged(load_inputs(job, runtime))
    retain = rows_but(inputs.splits.train, inputs.rows)
    edit = unlearn(
        inputs.loaded.classifier,
        inputs.forget_set,
        goal=inputs.goal,
        method=method,
        seed=job.seed,
        limits=Limits(job.max_steps, job.max_seconds),
        runtime=runtime,
        minimum_right=job.minimum_right,
        strength=job.strength,
        retain=retain,
        transforms=transforms,
    )
    images = {} if edit.stop_reason is StopReason.INTERRUPTED else measured_parts(job, inputs.splits, retain)
    logits = {name: _answer(name, each, edit, runtime) for name, each in images.items()}
    measured = {name: _to_measured(images[name].labels, *found) for name, found in logits.items()}
    if not runtime.leads:
        return Outcome(edit, measured, {}, inputs.splits.notes())
    robust = edit.measure_robust_goal()
    if (out / AUDIT_FOLDER).exists():
        clear_folder(out / AUDIT_FOLDER)
    resolved = _resolve(job, edit, to_mapping(method), runtime)
    result = edit.save(out, job=to_mapping(resolved), measured=measured, robust=robust, overwrite=True)
    outcome = Outcome(edit, measured, result, inputs.splits.notes())
    if job.audit.level is Level.NONE or edit.stop_reason is StopReason.INTERRUPTED:
        return outcome
    seen = _Seen(images, logits, robust)
    return replace(outcome, audit=_audit(job, inputs, edit, seen, out / AUDIT_FOLDER, runtime))


def _audit(job: Job, inputs: JobInputs, edit: Edit, seen: _Seen, folder: Path, runtime: Runtime) -> Audit:
    # scikit-learn takes a second to import, and most jobs have no audit
    from expunge.audit.of_edit import Origin, compare_edit  # noqa: PLC0415
    from expunge.audit.run import Answers, Known, run_audit  # noqa: PLC0415
    from expunge.report import write_report  # noqa: PLC0415

    origin = Origin(inputs.loaded.architecture, job.data.source, name_classes(inputs), inputs.splits.notes())
    answers = {name: Answers(*both) for name, both in seen.logits.items()}
    comparison = compare_edit(edit, seen.images, origin, Known(answers=answers, copies=seen.robust, cost=edit.cost))
    audit = run_audit(comparison, folder, level=job.audit.level, pictures=job.audit.images, runtime=runtime)
    write_report(folder)
    return audit


def _resolve(job: Job, edit: Edit, settings: Mapping[str, Any], runtime: Runtime) -> Job:
    """Return the job with everything that it left open filled in, so that it can be repeated."""
    return replace(
        job,
        settings=settings,
        strength=edit.task.strength,
        goal=GoalChoice(edit.task.goal.name) if job.goal is GoalChoice.AUTO else job.goal,
        device=str(runtime.device),
    )


def load_sources(job: Job, runtime: Runtime) -> tuple[LoadedClassifier, DataSplits]:
    """Return a job's classifier, on the runtime's device, and its images.

    Raises:
        ExpungeError: either cannot be loaded, or they do not fit each other.
    """
    loaded = load_classifier(model_source(job.model))
    loaded = replace(loaded, classifier=loaded.classifier.to(runtime.device))
    request = DataRequest(
        preprocessing=preprocessing(job.data, loaded.preprocessing),
        table=Path(job.data.table) if job.data.table else None,
        class_names=loaded.classifier.class_names,
        num_classes=loaded.classifier.num_classes,
    )
    return loaded, load_data(job.data.source, request)


def load_inputs(job: Job, runtime: Runtime) -> JobInputs:
    """Return what `job` works on.

    Raises:
        ExpungeError: the classifier, the images or the rows are not as they should be.
    """
    loaded, splits = load_sources(job, runtime)
    if job.goal is GoalChoice.CORRECT:
        rows, chosen = _select_mistakes(job, loaded, splits, runtime)
        return JobInputs(loaded, splits, rows, chosen, GOALS["relabel"])
    rows, new_labels = _select_rows(job, splits)
    goal = None if job.goal is GoalChoice.AUTO else GOALS[job.goal.value]
    return JobInputs(loaded, splits, rows, forget_set(splits.train, rows, new_labels=new_labels), goal)


def _arranged(inputs: JobInputs) -> JobInputs:
    """Return the inputs with images laid out as the classifier computes fastest."""
    classifier = inputs.loaded.classifier
    arranged = choose_layout(classifier, inputs.forget_set.x[:2].to(classifier.device))
    return replace(inputs, loaded=replace(inputs.loaded, classifier=arranged))


def model_source(part: ModelPart) -> ModelSource:
    """Return the classifier's source that `part` describes."""
    weights: Path | Literal["pretrained"] | None = None
    if part.weights is not None:
        weights = cast(Literal["pretrained"], part.weights) if part.weights == "pretrained" else Path(part.weights)
    return ModelSource(part.architecture, weights, part.num_classes, part.mean, part.std)


def preprocessing(part: DataPart, own: Preprocessing) -> Preprocessing:
    """Return what `part` says, and the classifier's own values where it says nothing."""
    resize = own.resize if part.resize is None else part.resize
    crop = own.crop if part.crop is None else (part.crop, part.crop)
    return Preprocessing(resize, crop, own.interpolation)


def _select_rows(job: Job, splits: DataSplits) -> tuple[list[int], list[int] | None]:
    forget = job.forget
    if forget.table is not None:
        return rows_from_table(Path(forget.table), splits.train, class_names=splits.class_names)
    if forget.rows is not None:
        return rows_from_numbers(forget.rows, splits.train), None
    return random_rows(splits.train, forget.random or 0, seed=job.seed), None


def _select_mistakes(
    job: Job, loaded: LoadedClassifier, splits: DataSplits, runtime: Runtime
) -> tuple[list[int], ForgetSet]:
    """Return rows that the classifier gets wrong, as rows to move from its answer to their label."""
    if job.forget.random is None:
        rows, _ = _select_rows(job, splits)
        chosen = forget_set(splits.train, rows)
        answers = _predict(loaded, Subset(splits.train, rows), runtime, "find mistakes").predicted
    else:
        found = _predict(loaded, splits.train, runtime, "find mistakes")
        mistakes = (found.predicted != found.labels).nonzero().flatten().tolist()
        drawn = random_rows(Subset(splits.train, mistakes), job.forget.random, seed=job.seed)
        rows = [mistakes[number] for number in drawn]
        chosen, answers = forget_set(splits.train, rows), found.predicted[torch.tensor(rows)]
    return rows, ForgetSet(chosen.ids, chosen.x, answers, chosen.y)


def rows_but(train: Images, forgotten: Sequence[int]) -> Subset | None:
    """Return the training rows that are not to be forgotten, if there are any."""
    left_out = set(forgotten)
    retained = [row for row in range(len(train.ids)) if row not in left_out]
    return Subset(train, retained) if retained else None


def _answer(name: str, images: Images, edit: Edit, runtime: Runtime) -> tuple[Tensor, Tensor]:
    before, after = (
        _compute_logits(classifier, images, runtime, f"{name} {when}")
        for when, classifier in (("before", edit.task.classifier), ("after", edit.classifier))
    )
    return before, after


def _compute_logits(classifier: Classifier, images: Images, runtime: Runtime, name: str) -> Tensor:
    """Return the logits of `images`, each process's share of them put together."""

    def compute_part(part: slice) -> list[Tensor]:
        own = images if part == slice(0, count) else Subset(images, range(part.start, part.stop))
        logits = predict_logits(classifier, own, batch_size=runtime.batch_size, progress=runtime.progress, name=name)
        return [logits.to(runtime.device)]

    count = len(images.labels)
    [logits] = Sharing(max(1, count), runtime.processes).gather(count, compute_part)
    return logits.cpu()


def _to_measured(labels: Tensor, before: Tensor, after: Tensor) -> Measured:
    return Measured(to_predictions(before, labels), to_predictions(after, labels))


def name_classes(inputs: JobInputs) -> tuple[str, ...]:
    """Return a name for each class: the classifier's, the data's, or else its number."""
    count = inputs.loaded.classifier.num_classes
    for names in (inputs.loaded.classifier.class_names, inputs.splits.class_names):
        if len(names) == count:
            return names
    return tuple(str(number) for number in range(count))


def measured_parts(job: Job, splits: DataSplits, retain: Subset | None) -> dict[str, Images]:
    """Return the retain and test rows that the job measures on, by name."""
    parts: dict[str, Images] = {}
    if retain is not None and job.data.retain_rows:
        parts["retain"] = Subset(retain.images, _sample(retain.rows, job.data.retain_rows, job.seed))
    if splits.test is not None and job.data.test_rows:
        parts["test"] = Subset(splits.test, _sample(range(len(splits.test.ids)), job.data.test_rows, job.seed))
    return parts


def _predict(loaded: LoadedClassifier, images: Images, runtime: Runtime, name: str) -> Predictions:
    return predict(loaded.classifier, images, batch_size=runtime.batch_size, progress=runtime.progress, name=name)


def _sample(rows: Sequence[int], count: int, seed: int) -> list[int]:
    if count >= len(rows):
        return list(rows)
    order = torch.randperm(len(rows), generator=seeded_generator(seed, "measured rows"))[:count]
    return [rows[number] for number in sorted(order.tolist())]
