"""Pools of other classifiers on disk: found in a folder, or trained there, each by a `expunge train` of its own."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from expunge.audit.collect.pools import Member, Pool
from expunge.base.errors import DataError
from expunge.base.settings import from_mapping, to_mapping
from expunge.compute.runtime import Progress
from expunge.compute.seeds import seeded_generator
from expunge.data.images import Images, hash_images
from expunge.jobs.inputs import model_source
from expunge.jobs.job import ModelPart, refuse_code
from expunge.jobs.train import RESULT, LeaveOutPart, TrainJob, chosen_rows, run_train_job
from expunge.models.classifier import Classifier
from expunge.models.description import WEIGHTS_FILE
from expunge.models.sources import load_classifier


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a pool is to hold.

    Args:
        job: how each of its classifiers is trained; its seed and the rows to leave out are set for each.
        count: how many; shadow classifiers come in pairs, trained on one half of the images and on the other.
        forgotten: row numbers that no classifier may see; None for shadow classifiers.
    """

    job: TrainJob
    count: int
    forgotten: tuple[int, ...] | None = None

    def key(self, images: Images) -> str:
        """Return a hash of data, settings and rows: pools of one plan are kept in one folder.

        Where the images lie and on which device they are trained on does not count; of the pixels a sample does.
        """
        parts = {
            "data": hash_images(images),
            "model": to_mapping(self.job.model),
            "recipe": to_mapping(self.job.recipe),
            "train_rows": self.job.train_rows,
            "forgotten": self.forgotten,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def left_out(self, number: int, images: Images) -> list[int]:
        """Return the rows that classifier `number` never sees."""
        if self.forgotten is not None:
            return list(self.forgotten)
        count = len(images.labels)
        order = torch.randperm(count, generator=seeded_generator(0, f"shadow halves {number // 2}")).tolist()
        return sorted(order[: count // 2] if number % 2 else order[count // 2 :])


def train_pool(folder: Path, plan: PoolPlan, images: Images, *, progress: Progress) -> Path:
    """Train what is missing of a pool, and return its folder; a training that was stopped goes on.

    Args:
        folder: holds pools by the hash of their plan.
        plan: what the pool is to hold.
        images: the training images.
        progress: shows each training.

    Raises:
        ExpungeError: as `run_train_job`.
    """
    place = folder / plan.key(images)
    for number in range(plan.count):
        train_member(place, plan, number, images, progress=progress)
    return place


def train_member(place: Path, plan: PoolPlan, number: int, images: Images, *, progress: Progress) -> None:
    """Train one classifier of a pool in a folder of `place`, unless it is there; a training that was stopped goes on.

    Args:
        place: the pool's folder.
        plan: what the pool is to hold.
        number: of the classifier, from 0 on; also the seed of its training.
        images: the training images.
        progress: shows the training.

    Raises:
        ExpungeError: as `run_train_job`.
    """
    member = place / f"{number:02d}"
    if (member / RESULT).exists():
        return
    rows = ",".join(map(str, plan.left_out(number, images)))
    job = replace(plan.job, seed=number, leave_out=LeaveOutPart(rows=rows))
    run_train_job(job, member, progress=progress, overwrite=False)


def find_pool(folder: Path, plan: PoolPlan, images: Images) -> Path:
    """Return where the classifiers are: in `folder`, or in that folder of it in which `train_pool` made such a pool.

    How they were trained counts only where several pools fit.

    Args:
        folder: holds a folder for each classifier, or pools by the hash of their plan.
        plan: which rows each classifier was to leave out, and how it would be trained.
        images: the training images.

    Raises:
        DataError: the pools are of other rows or images, or several fit and none is of this recipe.
    """
    pools = sorted({path.parent.parent for path in folder.glob(f"*/*/{RESULT}")})
    if not pools or any(folder.glob(f"*/{RESULT}")):
        return folder
    fitting = [pool for pool in pools if _fits(pool, plan, images)]
    kind = "shadow classifiers" if plan.forgotten is None else "classifiers that left out these rows"
    if not fitting:
        found = f"pools of others: {', '.join(map(str, pools))}"
        raise DataError(str(folder), f"{kind}, trained on these images", found, "make some, or name another folder")
    planned = folder / plan.key(images) if fitting[1:] else fitting[0]
    if planned not in fitting:
        raise DataError(str(folder), f"one pool of {kind}", ", ".join(map(str, fitting)), "name the folder of one")
    return planned


def _fits(pool: Path, plan: PoolPlan, images: Images) -> bool:
    """Return whether each classifier of a pool left out what the plan says."""
    return all(
        path.parent.name.isdigit()
        and set(_read_result(path)["left_out"])
        == {images.ids[row] for row in plan.left_out(int(path.parent.name), images)}
        for path in pool.glob(f"*/{RESULT}")
    )


def read_pool(folder: Path, images: Images, *, count: int | None = None, trusted: ModelPart | None = None) -> Pool:
    """Return the classifiers that `expunge train` left in the folders of `folder`.

    Args:
        folder: holds a folder for each classifier.
        images: the training images, which tell what each was trained on.
        count: the first so many; None for all.
        trusted: a classifier whose code may be run; that of another only if this is None.

    Raises:
        DataError: there is none, or one was trained on other images.
    """
    results = sorted(folder.glob(f"*/{RESULT}"))[:count]
    if not results:
        raise DataError(str(folder), f"folders that expunge train wrote, each with {RESULT}", "none", "train some")
    found = [(path.parent, _read_result(path)) for path in results]
    for place, result in found:
        if trusted is not None and result["job"]["model"]["architecture"] != trusted.architecture:
            refuse_code(result["job"], str(place / RESULT))
    members = tuple(_to_member(place, result, images) for place, result in found)
    return Pool(members, _say_how([result for _, result in found]))


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text("utf-8"))
        from_mapping(TrainJob, result["job"])
        if not isinstance(result["left_out"], list) or not isinstance(result["train_rows"], int):
            raise TypeError("left_out or train_rows")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(str(path), "the result of expunge train", f"{error}", "train it anew") from error
    return result


def _to_member(folder: Path, result: dict[str, Any], images: Images) -> Member:
    job = from_mapping(TrainJob, result["job"])
    row_of = {name: row for row, name in enumerate(images.ids)}
    unknown = [name for name in result["left_out"] if name not in row_of]
    if unknown:
        raise DataError(str(folder), "a classifier of these training images", f"one that left out {unknown[0]}")
    chosen = chosen_rows(job, images, [row_of[name] for name in result["left_out"]])
    if len(chosen) != result["train_rows"]:
        counts = f"{result['train_rows']} instead of {len(chosen)} images"
        raise DataError(str(folder), "a classifier of these training images", f"one of {counts}")

    def load() -> Classifier:
        return load_classifier(
            replace(model_source(job.model), weights=folder / WEIGHTS_FILE, weights_key=None)
        ).classifier

    return Member(load, frozenset(images.ids[row] for row in chosen), folder)


def _say_how(results: Sequence[dict[str, Any]]) -> str:
    """Return a sentence on how the classifiers were trained."""
    architectures = sorted({result["job"]["model"]["architecture"] for result in results})
    recipe = results[0]["job"]["recipe"]
    return (
        f"{len(results)} of {' and '.join(architectures)}, trained on {_span(r['train_rows'] for r in results)} images "
        f"for {recipe['epochs']} epochs (rate {recipe['learning_rate']:g}, batches of {recipe['batch_size']}, "
        f"{recipe['schedule']} schedule, {recipe['augmentation'].replace('_', ' ')})"
    )


def _span(values: Iterator[int]) -> str:
    found = sorted(set(values))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"
