"""What `expunge audit` does, from files to files: load both classifiers and the images, pools if wanted, measure."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from expunge.audit.collect.collected import Retrained, Shadows
from expunge.audit.collect.pools import Member, Pool, Unlearning, predict_retrained, predict_shadows
from expunge.audit.edit import told_by
from expunge.audit.record import AUDIT_FILE, Audit, Level, Subject
from expunge.audit.run import Comparison, Known, run_audit
from expunge.base.errors import DataError, ExpungeWarning, SettingsError
from expunge.base.folders import output_folder
from expunge.base.settings import check_settings, setting, to_mapping
from expunge.compute.context import Cost
from expunge.compute.runtime import Progress, Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset
from expunge.jobs.inputs import (
    JobInputs,
    forgotten_class,
    load_inputs,
    measured_parts,
    model_source,
    name_classes,
    rows_but,
    whole_parts,
)
from expunge.jobs.job import Job, ModelPart, make_runtime
from expunge.jobs.measure import readable
from expunge.jobs.past_run import read_run_result
from expunge.jobs.pool import PoolPlan, find_pool, read_pool, train_pool
from expunge.jobs.train import TrainJob
from expunge.methods import make_method
from expunge.methods.protocol import revision_in_key
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.sources import LoadedClassifier, load_classifier
from expunge.report import write_report
from expunge.task.expected import ExpectedCost
from expunge.task.goals import Goal, Misclassify, Relabel
from expunge.task.task import Limits
from expunge.task.transforms import find_transforms
from expunge.task.unseen import find_allowed
from expunge.task.words import CLASS_PART
from expunge.training import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPart:
    """A pool of other classifiers."""

    folder: str | None = setting(None, "where they are, or are to be")
    count: int | None = setting(
        None, "train so many of them, where they are missing; default: take what is there", at_least=1
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.count is not None and self.folder is None:
            raise SettingsError("pool", "a folder for the classifiers", f"only their number, {self.count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditJob:
    """Everything that `expunge audit` is told.

    Args:
        job: the classifier before, images, rows and goal; of a run also method and settings.
        after: the edited classifier.
        level: quick or full.
        images: whether the forgotten images become part of the audit.
        run: folder of the `expunge run` that made the edit, if one did.
        shadows: shadow classifiers.
        retrained: classifiers that were trained without the rows.
        recipe: how those of the two that are missing are trained.
        allow_code: whether functions that files of a pool name may be run.
    """

    job: Job
    after: ModelPart
    level: Level = Level.FULL
    images: bool = True
    run: Path | None = None
    shadows: PoolPart = field(default_factory=PoolPart)
    retrained: PoolPart = field(default_factory=PoolPart)
    recipe: Recipe = field(default_factory=Recipe)
    allow_code: bool = False

    def __post_init__(self) -> None:
        if (self.shadows.count or 0) % 2:
            rule = "an even number: of each two, one is trained on one half of the images and one on the other"
            raise SettingsError("make-shadows", rule, str(self.shadows.count))


def run_audit_job(asked: AuditJob, out: Path, *, progress: Progress, overwrite: bool) -> Audit:
    """Compare two classifiers, write audit and report to `out`, replacing older ones, and return the audit.

    Raises:
        ExpungeError: anything about the classifiers, the images, the pools or the folder is not as it should be.
    """
    with output_folder(out, overwrite=overwrite or (out / AUDIT_FILE).exists(), result=AUDIT_FILE):
        return _audit(asked, out, progress)


def _audit(asked: AuditJob, out: Path, progress: Progress) -> Audit:
    job = asked.job
    runtime = make_runtime(job, progress)
    loaded = _load(asked, runtime)
    pools = _find_pools(asked, loaded, runtime)
    rows, classifier = loaded.inputs.forget_set, loaded.inputs.loaded.classifier
    comparison = Comparison(
        before=classifier,
        after=loaded.edited.classifier,
        rows=rows,
        goal=loaded.goal,
        goal_labels=loaded.goal.labels(rows, classifier.num_classes, seeded_generator(job.seed, "labels")),
        allowed=find_allowed(loaded.goal, classifier, rows, job.seed, runtime),
        images=loaded.images,
        subject=_describe(asked, loaded, pools),
        seed=job.seed,
        transforms=find_transforms(job.transforms),
        known=_know(pools, loaded, runtime),
        notes=(*loaded.inputs.splits.notes(), *loaded.notes),
        whole=whole_parts(job, loaded.inputs),
    )
    audit = run_audit(comparison, out, level=asked.level, pictures=asked.images, runtime=runtime)
    write_report(out)
    return audit


@dataclass(frozen=True, slots=True)
class _Loaded:
    inputs: JobInputs
    edited: LoadedClassifier
    goal: Goal
    images: Mapping[str, Images]
    result: Mapping[str, Any]
    notes: tuple[str, ...]


def _load(asked: AuditJob, runtime: Runtime) -> _Loaded:
    inputs = load_inputs(asked.job, runtime)
    edited = load_classifier(model_source(asked.after))
    goal = inputs.goal or (Misclassify() if inputs.forget_set.y_new is None else Relabel())
    result = {} if asked.run is None else read_run_result(asked.run, inputs)
    images, notes = dict[str, Images](), list[str]()
    retain = rows_but(inputs.splits.train, inputs.rows)
    for name, part in measured_parts(asked.job, inputs.splits, retain, inputs.forgotten_class).items():
        kept, said = readable(name, part, inputs.forget_set.x, runtime.batch_size)
        images |= {name: kept} if len(kept.labels) else {}
        notes += said
    return _Loaded(inputs, edited, goal, images, result, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Pools:
    seed: int
    shadows: Pool | None
    retrained: Pool | None
    unlearning: Unlearning | None

    def words(self) -> dict[str, str] | None:
        """Return how each pool was trained."""
        found = {"shadow": self.shadows, "retrained": self.retrained}
        return {name: pool.how for name, pool in found.items() if pool is not None} or None


def _find_pools(asked: AuditJob, loaded: _Loaded, runtime: Runtime) -> _Pools:
    inputs = loaded.inputs
    train = inputs.splits.train

    def find(part: PoolPart, forgotten: tuple[int, ...] | None) -> Pool | None:
        if part.folder is None:
            return None
        folder, plan = Path(part.folder), PoolPlan(_training(asked, inputs), part.count or 0, forgotten)
        if part.count is None:
            folder = find_pool(folder, plan, train)
        else:
            folder = train_pool(folder, plan, train, progress=runtime.progress)
        return read_pool(folder, train, count=part.count, trusted=None if asked.allow_code else asked.job.model)

    unlearning = None if asked.run is None else _unlearning(asked.job, loaded, runtime)
    return _Pools(asked.job.seed, find(asked.shadows, None), find(asked.retrained, tuple(inputs.rows)), unlearning)


def _training(asked: AuditJob, inputs: JobInputs) -> TrainJob:
    """Return how a classifier of the same architecture is trained on the same images."""
    job = asked.job
    model = replace(job.model, weights=None, weights_key=None, num_classes=inputs.loaded.classifier.num_classes)
    return TrainJob(
        model=model,
        data=job.data,
        recipe=asked.recipe,
        device=job.device,
        batch_size=job.batch_size,
        float32=job.float32,
        deterministic=job.deterministic,
    )


def _unlearning(job: Job, loaded: _Loaded, runtime: Runtime) -> Unlearning:
    """Return how shadow classifiers unlearn: as the edit did."""
    method, transforms = make_method(job.method, job.settings), find_transforms(job.transforms)
    inputs, goal = loaded.inputs, loaded.goal
    row_of = {name: row for row, name in enumerate(inputs.splits.train.ids)}

    def forget(classifier: Classifier, rows: ForgetSet, member: Member) -> Classifier:
        kept = sorted(row_of[name] for name in member.trained_on - set(inputs.forget_set.ids))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExpungeWarning)  # that a shadow classifier gets some row wrong is no news
            return unlearn(
                classifier,
                rows,
                goal=goal,
                method=method,
                seed=job.seed,
                limits=Limits(job.max_steps, job.max_seconds),
                runtime=runtime,
                minimum_right=0.0,
                strength=job.strength,
                retain=Subset(inputs.splits.train, kept),
                transforms=transforms,
            ).classifier

    decisive = ("method", "settings", "seed", "strength", "transforms", "max_steps", "max_seconds")
    parts = {name: value for name, value in to_mapping(job).items() if name in decisive}
    parts |= {"goal": goal.name, **revision_in_key(method)}
    return Unlearning(forget, json.dumps(parts, sort_keys=True))


def _know(pools: _Pools, loaded: _Loaded, runtime: Runtime) -> Known:
    images, result = loaded.images, loaded.result
    shadows: Shadows | None = None
    retrained: Retrained | None = None
    rows = loaded.inputs.forget_set.to(runtime.device)
    if pools.retrained is not None:
        retrained = predict_retrained(pools.retrained, dict(images), rows, runtime)
    if pools.shadows is not None:
        if "test" not in images:
            raise DataError(
                "shadows", "test images to compare the rows with", "none", "leave the shadow classifiers out"
            )
        nonmembers = images.get(CLASS_PART, images["test"])
        shadows = predict_shadows(pools.shadows, nonmembers, rows, pools.unlearning, seed=pools.seed, runtime=runtime)
    members = () if pools.retrained is None else pools.retrained.members
    return Known(
        cost=Cost(**result["cost"]) if result else None,
        expected=ExpectedCost.from_json(result["expected"]) if result and result["expected"] else None,
        shadows=shadows,
        retrained=retrained,
        retrained_classifiers=[member.load().to(runtime.device) for member in members],
    )


def _describe(asked: AuditJob, loaded: _Loaded, pools: _Pools) -> Subject:
    inputs, result = loaded.inputs, loaded.result
    both = [
        {"architecture": each.architecture, "weights_sha256": each.weights_sha256}
        for each in (inputs.loaded, loaded.edited)
    ]
    used: tuple[str, ...] = ()
    if result:
        used = ("forget", "retain") if result["retain_used"] else ("forget",)
    subject = Subject(
        before=both[0],
        after=both[1],
        data=asked.job.data.source,
        forget_sha256=inputs.forget_set.sha256(),
        goal=loaded.goal.name,
        class_names=name_classes(inputs),
        sizes={"forget": len(inputs.forget_set), **{name: len(each.labels) for name, each in loaded.images.items()}},
        used_by_edit=used,
        method=asked.job.method if result else None,
        settings=asked.job.settings if result else None,
        pools=pools.words(),
        forgotten_class=forgotten_class(inputs),
    )
    return told_by(subject, result)
