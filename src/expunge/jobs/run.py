"""The job of `expunge run`, from files to files: load, select, unlearn, measure, save."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from expunge.audit.record import AUDIT_FOLDER, Audit, Level
from expunge.audit.store.files import clear_folder
from expunge.base.settings import to_mapping
from expunge.base.tensors import prepare_output_folder
from expunge.compute.runtime import Progress, Runtime
from expunge.compute.sharing import Sharing
from expunge.data.images import Images, Subset
from expunge.jobs.chosen import chosen_settings, fill_data, fill_model
from expunge.jobs.inputs import (
    JobInputs,
    data_request,
    forgotten_class,
    load_inputs,
    measured_parts,
    name_classes,
    rows_but,
    whole_parts,
)
from expunge.jobs.job import GoalChoice, Job
from expunge.methods.unlearn import Interrupted, make_method, unlearn
from expunge.models.classifier import Classifier
from expunge.models.folding import choose_layout
from expunge.surrogates.unseen import draw_unseen
from expunge.task.edit import About, Edit, Measured
from expunge.task.evaluation import RobustGoal, predict_logits, to_predictions
from expunge.task.expected import measure_expected_cost
from expunge.task.task import Limits, StopReason
from expunge.task.transforms import find_transforms


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
class _Seen:
    images: Mapping[str, Images]
    logits: Mapping[str, tuple[Tensor, Tensor]]
    robust: RobustGoal
    result: Mapping[str, Any]


def run_job(job: Job, out: Path, *, progress: Progress, overwrite: bool) -> Outcome:
    """Run `job` and save its result to `out`; files there are written only once the edit is there.

    Raises:
        ExpungeError: anything about the job, its inputs or the folder is not as it should be.
    """
    method = make_method(job.method, job.settings)
    transforms = find_transforms(job.transforms)
    runtime = Runtime.on(job.device, batch_size=job.batch_size, progress=progress).with_processes(
        job.devices, job.nodes
    )
    if runtime.leads:
        prepare_output_folder(out, overwrite=overwrite)
    runtime = replace(runtime, memory_gigabytes=job.memory_gigabytes, scratch=out if runtime.leads else None)
    inputs = _arranged(load_inputs(job, runtime))
    retain = rows_but(inputs.splits.train, inputs.rows)
    try:
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
    except Interrupted as stop:
        edit = stop.edit
    images = {}
    if edit.stop_reason is not StopReason.INTERRUPTED:
        images = measured_parts(job, inputs.splits, retain, inputs.forgotten_class)
    logits = {name: _answer(name, each, edit, runtime) for name, each in images.items()}
    measured = {name: _to_measured(images[name].labels, *found) for name, found in logits.items()}
    if not runtime.leads:
        return Outcome(edit, measured, {}, inputs.splits.notes())
    if edit.expected is None and "test" not in measured and edit.stop_reason is not StopReason.INTERRUPTED:
        unseen = draw_unseen(edit.task)
        expected = measure_expected_cost(edit.task.classifier, edit.classifier, unseen, runtime.sharing)
        edit = replace(edit, expected=expected)
    robust = edit.measure_robust_goal(runtime.sharing)
    if (out / AUDIT_FOLDER).exists():
        clear_folder(out / AUDIT_FOLDER)
    result = edit.save(
        out,
        job=to_mapping(_resolve(job, inputs, edit, runtime)),
        measured=measured,
        robust=robust,
        preprocessing=data_request(job.data, inputs.loaded).preprocessing,
        about=_about(job, inputs),
        overwrite=True,
    )
    outcome = Outcome(edit, measured, result, inputs.splits.notes())
    if job.audit.level is Level.NONE or edit.stop_reason is StopReason.INTERRUPTED:
        return outcome
    seen = _Seen(images, logits, robust, result)
    return replace(outcome, audit=_audit(job, inputs, edit, seen, out / AUDIT_FOLDER, runtime))


def _audit(job: Job, inputs: JobInputs, edit: Edit, seen: _Seen, folder: Path, runtime: Runtime) -> Audit:
    # scikit-learn takes a second to import, and most jobs have no audit
    from expunge.audit.edit import Origin, compare_edit  # noqa: PLC0415
    from expunge.audit.run import Answers, Known, run_audit  # noqa: PLC0415
    from expunge.report import write_report  # noqa: PLC0415

    names, notes = name_classes(inputs), inputs.splits.notes()
    origin = Origin(inputs.loaded.architecture, job.data.source, names, notes, seen.result, whole_parts(job, inputs))
    answers = {name: Answers(*both) for name, both in seen.logits.items()}
    known = Known(answers=answers, copies=seen.robust, cost=edit.cost, expected=edit.expected)
    comparison = compare_edit(edit, seen.images, origin, known)
    audit = run_audit(comparison, folder, level=job.audit.level, pictures=job.audit.images, runtime=runtime)
    write_report(folder)
    return audit


def _about(job: Job, inputs: JobInputs) -> About:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return About(forgotten_class(inputs), job.reference, now, chosen_settings(job, inputs))


def _resolve(job: Job, inputs: JobInputs, edit: Edit, runtime: Runtime) -> Job:
    """Return the job with everything that it left open filled in, so that it can be repeated."""
    return replace(
        job,
        model=fill_model(job.model, inputs.loaded),
        data=fill_data(job.data, inputs.loaded),
        settings=edit.settings,
        strength=edit.task.strength,
        goal=GoalChoice(edit.task.goal.name) if job.goal is GoalChoice.AUTO else job.goal,
        device=str(runtime.device),
    )


def _arranged(inputs: JobInputs) -> JobInputs:
    """Return the inputs with images laid out as the classifier computes fastest."""
    classifier = inputs.loaded.classifier
    arranged = choose_layout(classifier, inputs.forget_set.x[:2].to(classifier.device))
    return replace(inputs, loaded=replace(inputs.loaded, classifier=arranged))


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
        logits = predict_logits(classifier, own, runtime, name=name)
        return [logits.to(runtime.device)]

    count = len(images.labels)
    [logits] = Sharing(max(1, count), runtime.processes).map_concat(count, compute_part)
    return logits.cpu()


def _to_measured(labels: Tensor, before: Tensor, after: Tensor) -> Measured:
    return Measured(to_predictions(before, labels), to_predictions(after, labels))
