"""A stream of requests: each is forgotten by the classifier that the one before left, and nothing is undone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from expunge.base.disk import make_folder, sweep, write_json
from expunge.base.errors import SettingsError
from expunge.base.tensors import write_tensors
from expunge.bench.cells import REQUEST, RESULT
from expunge.bench.grid import Earlier, StreamPart
from expunge.compute.runtime import Progress, Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data import DataSplits, forget_set, random_rows
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.jobs.inputs import load_sources, measured_parts, rows_but
from expunge.jobs.job import GoalChoice, Job, make_runtime
from expunge.methods import make_method
from expunge.methods.continual import (
    EditOptions,
    History,
    copies_for,
    find_keeper_cut,
    find_lost,
    forget_next,
    holds,
    join,
)
from expunge.models.classifier import Classifier
from expunge.models.sources.checkpoint import read_weights
from expunge.models.sources.weights import fill
from expunge.task.edit import Edit
from expunge.task.evaluation import Predictions, churn, predict
from expunge.task.keepers import make_keeper
from expunge.task.task import Limits
from expunge.task.transforms import find_transforms

STREAM_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class _Stream:
    """What all requests share: the job, the rows of each request, and what is measured."""

    job: Job
    stream: StreamPart
    runtime: Runtime
    splits: DataSplits
    first: Classifier
    requests: Sequence[ForgetSet]
    parts: Mapping[str, Images]
    before: Mapping[str, Predictions]


def run_stream(job: Job, stream: StreamPart, out: Path, *, progress: Progress) -> None:
    """Run the requests that `out` has no results of yet, and write result.json.

    Every request leaves its weights and a request.json, written last, so that a stream that was killed goes on with
    the request that it was at.

    Args:
        job: as for a single request; forget.random is the number of rows of all requests together.
        stream: how many requests, and what becomes of earlier ones.
        out: a folder that is there.
        progress: shows the phases of each edit.

    Raises:
        ExpungeError: anything about the job or its inputs is not as it should be.
        KeyboardInterrupt: Ctrl-C; requests that were finished are kept.
    """
    prepared = _prepare(
        job,
        stream,
        make_runtime(job, progress),
    )
    working, lines = prepared.first.copy(), list[dict[str, Any]]()
    for number in range(stream.requests):
        folder = out / f"request-{number + 1}"
        if not (folder / REQUEST).exists():
            make_folder(folder)
            sweep(folder)
            edit = _forget(prepared, working, number)
            write_tensors(folder / "model.safetensors", edit.classifier.network.state_dict(), {"format": "pt"})
            write_json(folder / REQUEST, _describe(prepared, edit, number))
        fill(working.network, read_weights(folder / "model.safetensors"), place=str(folder))
        lines.append(json.loads((folder / REQUEST).read_text("utf-8")))
    write_json(out / RESULT, _summarise(prepared, lines))


def _prepare(job: Job, stream: StreamPart, runtime: Runtime) -> _Stream:
    if job.goal not in (GoalChoice.AUTO, GoalChoice.MISCLASSIFY):
        raise SettingsError("goal", "misclassify in a stream of requests", job.goal.value)
    loaded, splits = load_sources(job, runtime)
    rows = draw_stream(job, splits)
    size = len(rows) // stream.requests
    requests = [forget_set(splits.train, rows[start : start + size]) for start in range(0, len(rows), size)]
    parts = measured_parts(job, splits, rows_but(splits.train, rows))
    before = {name: predict(loaded.classifier, images, runtime, name=name) for name, images in parts.items()}
    return _Stream(job, stream, runtime, splits, loaded.classifier, requests, parts, before)


def draw_stream(job: Job, splits: DataSplits) -> list[int]:
    """Return the rows of all requests, those of the first first."""
    drawn = random_rows(splits.train, job.forget.random or 0, seed=job.seed)
    order = torch.randperm(len(drawn), generator=seeded_generator(job.seed, "stream")).tolist()
    return [drawn[index] for index in order]


def _forget(prepared: _Stream, working: Classifier, number: int) -> Edit:
    """Return the edit of one request; rows that none has named yet are retain data, to a method that needs them."""
    job = prepared.job
    how = EditOptions(
        method=make_method(job.method, job.settings),
        seed=job.seed + number,
        strength=job.strength,
        limits=Limits(job.max_steps, job.max_seconds),
        retain=rows_but(prepared.splits.train, _asked_so_far(prepared, number)),
        transforms=find_transforms(job.transforms),
    )
    back = _came_back(prepared, working, number) if prepared.stream.earlier is Earlier.REPAIRED else []
    history = _read_history(prepared, how, number)
    return forget_next(working, [prepared.requests[number]], back, how, prepared.runtime, history)


def _read_history(prepared: _Stream, how: EditOptions, number: int) -> History | None:
    """Return what is left of earlier requests to the edit of one; a keeper is the same whenever it is made."""
    first, earlier, done = prepared.first, prepared.stream.earlier, prepared.requests[:number]
    if earlier is Earlier.HELD:
        return History(first, images=done)
    if earlier is not Earlier.KEPT:
        return None
    cut = find_keeper_cut(first, prepared.requests[0].x[:2])
    if cut is None:
        raise SettingsError("earlier", "a classifier that can be cut before its last layers", "another", "say held")
    generators = [seeded_generator(prepared.job.seed, f"keeper of request {each}") for each in range(number)]
    copies, sharing = copies_for(how), prepared.runtime.sharing
    keepers = [
        make_keeper(first, cut, rows, generator, copies=copies, at_once=sharing, transforms=how.transforms)
        for rows, generator in zip(done, generators, strict=True)
    ]
    return History(first, keepers=keepers, cut=cut)


def _came_back(prepared: _Stream, working: Classifier, number: int) -> list[ForgetSet]:
    """Return the rows of earlier requests that are answered as labelled again, request by request."""
    lost = find_lost(working, dict(enumerate(prepared.requests[:number])), prepared.runtime.sharing)
    return [prepared.requests[earlier].rows(rows) for earlier, rows in lost.items()]


def _asked_so_far(prepared: _Stream, number: int) -> list[int]:
    names = {name for rows in prepared.requests[: number + 1] for name in rows.ids}
    return [row for row, name in enumerate(prepared.splits.train.ids) if name in names]


def _describe(prepared: _Stream, edit: Edit, number: int) -> dict[str, Any]:
    """Return what became of this request, of earlier ones and of everything else."""
    rows = prepared.requests[number]
    sharing, asked = prepared.runtime.sharing, prepared.requests[: number + 1]
    held = [holds(edit.classifier, each, sharing).double().mean().item() for each in asked]
    earlier, own = edit.task.earlier, replace(edit.task, forget_set=rows, labels=rows.y)
    robust = replace(edit, task=own).measure_robust_goal(sharing)
    after = {name: predict(edit.classifier, each, prepared.runtime, name=name) for name, each in prepared.parts.items()}
    return {
        "request": number + 1,
        "rows": len(rows) * (number + 1),
        "forgotten_again": len(edit.task.forget_set) - len(rows) - (0 if earlier is None else earlier.within),
        "goal_achieved": held[number],
        "goal_achieved_robust": robust.share,
        "held_by_request": held,
        "held": sum(held) / len(held),
        "held_first": held[0],
        "stop_reason": edit.stop_reason.value,
        "steps": edit.steps,
        "cost": {"seconds": edit.cost.seconds, "gradient_evaluations": edit.cost.gradient_evaluations},
        "after": {
            name: {"accuracy": each.accuracy, "churn": churn(prepared.before[name], each)}
            for name, each in after.items()
        },
        "weights_sha256": edit.classifier.sha256(),
        "inputs": _hashes(prepared),
    }


def _summarise(prepared: _Stream, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    everything = join(prepared.requests, prepared.first)
    names = ("seconds", "gradient_evaluations")
    return {
        "stream_schema_version": STREAM_SCHEMA_VERSION,
        "method": prepared.job.method,
        "goal": "misclassify",
        "earlier": prepared.stream.earlier.value,
        "before": {name: {"accuracy": each.accuracy, "n": len(each.labels)} for name, each in prepared.before.items()},
        "requests": list(lines),
        "cost": {name: sum(line["cost"][name] for line in lines) for name in names},
        "seed": prepared.job.seed,
        "device": str(prepared.runtime.device),
        "inputs": {**_hashes(prepared), "forget_sha256": everything.sha256()},
    }


def _hashes(prepared: _Stream) -> dict[str, str]:
    return {"weights_sha256": prepared.first.sha256(), "data_sha256": prepared.splits.sha256()}
