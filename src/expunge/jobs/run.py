"""The job of `expunge run`, from files to files: load, select, unlearn, save, measure."""

import json
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from expunge.audit.record import AUDIT_FOLDER, Audit, Level
from expunge.audit.store.files import clear_folder
from expunge.base.disk import remove_files
from expunge.base.errors import ExpungeWarning, ForgetSetError, ProcessError
from expunge.base.folders import abandoned_folder, locked_folder, output_folder
from expunge.base.settings import to_mapping
from expunge.compute.callbacks import find_logger
from expunge.compute.processes import ALONE
from expunge.compute.runtime import Progress, Runtime
from expunge.data.images import Images
from expunge.jobs.inputs import (
    JobInputs,
    chosen_settings,
    data_request,
    fill_data,
    fill_model,
    forgotten_class,
    load_inputs,
    measured_parts,
    name_classes,
    rows_but,
    whole_parts,
)
from expunge.jobs.job import GoalChoice, Job, make_runtime
from expunge.jobs.measure import Answers, answer
from expunge.methods import make_method
from expunge.methods.arguments import note_new_labels
from expunge.methods.protocol import Method
from expunge.methods.unlearn import Interrupted, unlearn
from expunge.models.folding import choose_layout
from expunge.models.sources.load import names_code
from expunge.surrogates.held_out import draw_held_out
from expunge.task.edit import Edit
from expunge.task.evaluation import COPIES_PER_ROW, RobustGoal
from expunge.task.expected import measure_expected_cost
from expunge.task.result import COPIES, About, Measured
from expunge.task.saved import RESULT_FILE
from expunge.task.task import Limits, StopReason
from expunge.task.transforms import Transform, find_transforms
from expunge.training.checkpoint import CHECKPOINT_FILE

PREDICTED = "forget set"
"""What the error is about that too few images are predicted as labelled."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """A finished job: the edit, what was measured, the result as saved, notes on the data, and the audit, if any.

    Of several processes, all but the first have an empty result: they save nothing, unless the first was killed.
    """

    edit: Edit
    measured: Mapping[str, Measured]
    result: Mapping[str, Any]
    notes: tuple[str, ...]
    audit: Audit | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    answers: Mapping[str, Answers]
    robust: RobustGoal
    result: Mapping[str, Any]
    notes: tuple[str, ...]


def run_job(job: Job, out: Path, *, progress: Progress, overwrite: bool) -> JobResult:
    """Run `job` and save its result to `out`; files there are written only once the edit is there.

    The edit is saved before other images are measured on, and again with what was measured. Of those images, one that
    can't be read is left out with a note.

    A job that trains for epochs goes on after the last one that it had finished when it was stopped in the same folder.

    Raises:
        ExpungeError: anything about the job, its inputs or the folder is not as it should be.
    """
    method, transforms = make_method(job.method, job.settings), find_transforms(job.transforms)
    runtime = make_runtime(job, progress).with_processes(job.devices, job.nodes)
    held = output_folder(out, overwrite=overwrite, result=RESULT_FILE) if runtime.leads else nullcontext()
    with held:
        runtime = replace(runtime, memory_gigabytes=job.memory_gigabytes)
        if runtime.leads:
            callbacks = tuple(map(find_logger, job.log))
            runtime = replace(runtime, scratch=out, checkpoint=out / CHECKPOINT_FILE, callbacks=callbacks)
        inputs = _arranged(load_inputs(job, runtime))
        note_new_labels(inputs.goal, inputs.forget_set)
        retain = rows_but(inputs.splits.train, inputs.rows)
        edit = _unlearn(job, method, transforms, inputs, retain, runtime)
        parts = {}
        if edit.stop_reason is not StopReason.INTERRUPTED:
            parts = measured_parts(job, inputs.splits, retain, inputs.forgotten_class)
        work = _save_and_measure if runtime.leads else _follow
        return work(_resolve(job, inputs, edit, runtime), inputs, edit, parts, out, runtime)


def is_unmeasured(out: Path) -> bool:
    """Return whether `out` holds an edit whose job ended before other images were measured on."""
    try:
        return "unmeasured" in json.loads((out / RESULT_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False


def _unlearn(
    job: Job,
    method: Method,
    transforms: Mapping[str, Transform],
    inputs: JobInputs,
    retain: Images | None,
    runtime: Runtime,
) -> Edit:
    try:
        return unlearn(
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
        return stop.edit
    except ForgetSetError as error:
        if error.name != PREDICTED or job.model.weights is not None or not names_code(job.model.architecture):
            raise
        cause = f"--weights was not given, and the network is random unless {job.model.architecture} loads some itself"
        raise error.hinted(cause) from error


def _expecting(edit: Edit, parts: Mapping[str, Images], runtime: Runtime) -> Edit:
    """Return the edit with what it should cost on surrogates, where there are no test images to measure it on."""
    if edit.expected is not None or "test" in parts or edit.stop_reason is StopReason.INTERRUPTED:
        return edit
    held_out = draw_held_out(edit.task)
    return replace(
        edit, expected=measure_expected_cost(edit.task.classifier, edit.classifier, held_out, runtime.sharing)
    )


def _save_and_measure(
    job: Job, inputs: JobInputs, edit: Edit, parts: Mapping[str, Images], out: Path, runtime: Runtime
) -> JobResult:
    """Save the edit of a job in which nothing is left open, then measure, and save what was measured."""
    edit = _expecting(edit, parts, runtime)
    if (out / AUDIT_FOLDER).exists():
        with locked_folder(out / AUDIT_FOLDER):
            clear_folder(out / AUDIT_FOLDER)
    job_values, preprocessing = to_mapping(job), data_request(job.data, inputs.loaded).preprocessing
    described: dict[str, Any] = {"job": job_values, "preprocessing": preprocessing}
    result = edit.save(out, about=_about(job, inputs), overwrite=True, unmeasured=(COPIES, *parts), **described)
    if edit.stop_reason is not StopReason.INTERRUPTED:
        remove_files(out, [CHECKPOINT_FILE])
    with runtime.progress.phase(COPIES, COPIES_PER_ROW) as advance:
        robust = edit.measure_robust_goal(runtime.sharing, advance)
    result = edit.save_measured(out, result, {}, robust=robust, unmeasured=tuple(parts), **described)
    runtime.processes.follow()
    answers = {name: answer(name, images, edit, runtime) for name, images in parts.items()}
    measured = {name: each.measured() for name, each in answers.items() if len(each.images.labels)}
    if parts:
        result = edit.save_measured(out, result, measured, **described)
    notes = (*inputs.splits.notes(), *(note for each in answers.values() for note in each.notes))
    outcome = JobResult(edit, measured, result, notes)
    if job.audit.level is Level.NONE or edit.stop_reason is StopReason.INTERRUPTED:
        return outcome
    seen = _Seen({name: answers[name] for name in measured}, robust, result, notes)
    return replace(outcome, audit=_audit(job, inputs, edit, seen, out / AUDIT_FOLDER, runtime))


def _follow(
    job: Job, inputs: JobInputs, edit: Edit, parts: Mapping[str, Images], out: Path, runtime: Runtime
) -> JobResult:
    """Take part in the first process's measuring; if that process was killed, save and measure in its place."""
    lost = edit.stop_reason is StopReason.INTERRUPTED
    try:
        runtime.processes.follow()  # the first has saved then
        for name, images in parts.items():
            answer(name, images, edit, runtime)
    except ProcessError:
        lost = True
    with abandoned_folder(out) if lost else nullcontext(False) as abandoned:
        if not abandoned:
            return JobResult(edit, {}, {}, inputs.splits.notes())
        warnings.warn(f"the first process was killed; this one saves to {out}", ExpungeWarning, stacklevel=2)
        return _save_and_measure(job, inputs, edit, parts, out, replace(runtime, processes=ALONE, scratch=out))


def _audit(job: Job, inputs: JobInputs, edit: Edit, seen: _Seen, folder: Path, runtime: Runtime) -> Audit:
    # scikit-learn takes a second to import, and most jobs have no audit
    from expunge.audit.edit import Origin, compare_edit  # noqa: PLC0415
    from expunge.audit.run import Answers as Logits  # noqa: PLC0415
    from expunge.audit.run import Known, run_audit  # noqa: PLC0415
    from expunge.report import write_report  # noqa: PLC0415

    names = name_classes(inputs)
    whole = whole_parts(job, inputs)
    origin = Origin(inputs.loaded.architecture, job.data.source, names, seen.notes, seen.result, whole)
    answers = {name: Logits(each.before, each.after) for name, each in seen.answers.items()}
    images = {name: each.images for name, each in seen.answers.items()}
    known = Known(answers=answers, copies=seen.robust, cost=edit.cost, expected=edit.expected)
    comparison = compare_edit(edit, images, origin, known)
    with locked_folder(folder):
        audit = run_audit(comparison, folder, level=job.audit.level, pictures=job.audit.images, runtime=runtime)
        write_report(folder)
    return audit


def _about(job: Job, inputs: JobInputs) -> About:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    chosen = chosen_settings(job, inputs)
    return About(forgotten_class(inputs), job.reference, now, chosen, inputs.splits.sha256())


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
