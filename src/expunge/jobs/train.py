"""What `expunge train` does, from files to files: load, leave images out, train, measure, save."""

import json
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expunge._version import __version__
from expunge.audit.record import read_rows
from expunge.base.cells import unescape_cell
from expunge.base.disk import remove_files, replacing, write_json
from expunge.base.errors import DataError, ExpungeWarning, ForgetSetError, SettingsError
from expunge.base.folders import output_folder
from expunge.base.settings import check_settings, setting, to_mapping
from expunge.base.tensors import write_tensors
from expunge.compute.context import Context
from expunge.compute.exactness import Float32
from expunge.compute.runtime import Progress, Runtime
from expunge.data import DataSplits, load_data, random_rows, rows_from_numbers, rows_from_table
from expunge.data.images import Images, Subset
from expunge.jobs.inputs import data_request, model_source
from expunge.jobs.job import DataPart, ModelPart, make_runtime
from expunge.jobs.measure import readable
from expunge.models.classifier import Classifier
from expunge.models.description import WEIGHTS_FILE
from expunge.models.sources import LoadedClassifier, load_classifier
from expunge.task.edit import PREDICTIONS_FILE
from expunge.task.evaluation import predict
from expunge.training import Recipe, train_classifier
from expunge.training.checkpoint import CHECKPOINT_FILE

TRAIN_SCHEMA_VERSION = 1
RESULT = "train.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOutPart:
    """Which training images the classifier never sees; at most one of the three."""

    table: str | None = setting(None, "CSV with a column id or path")
    rows: str | None = setting(None, "numbers and ranges of images of the training part, such as 3,17,40-45")
    run: str | None = setting(None, "folder of an `expunge run`: the images that it forgot")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """Everything that `expunge train` is told."""

    model: ModelPart = field(default_factory=ModelPart)
    data: DataPart = field(default_factory=DataPart)
    recipe: Recipe = field(default_factory=Recipe)
    leave_out: LeaveOutPart = field(default_factory=LeaveOutPart)
    train_rows: int | None = setting(None, "that many training images drawn at random with the seed", at_least=1)
    seed: int = setting(0, "source of all randomness", at_least=0)
    device: str = setting("auto", "cpu, cuda, cuda:1, mps, or auto")
    batch_size: int = setting(256, "images in one pass of measuring", at_least=1)
    float32: Float32 = setting(Float32.TF32, "what float32 means on a GPU: ieee, or tf32 in passes with gradients")
    deterministic: bool = setting(False, "same seed, same bits on a GPU, too, or an error")

    def __post_init__(self) -> None:
        for part in (self.model, self.data, self.leave_out, self):
            check_settings(part)
        for name, value in (("model", self.model.architecture), ("data", self.data.source)):
            if not value:
                raise SettingsError(name, "a source", "none", f"say --{name} KIND:NAME")
        given = sum(value is not None for value in (self.leave_out.table, self.leave_out.rows, self.leave_out.run))
        if given > 1:
            raise SettingsError("leave_out", "at most one of a table, indices and a run", f"{given} of them")


@dataclass(frozen=True, slots=True)
class _Inputs:
    job: TrainJob
    splits: DataSplits
    chosen: Sequence[int]
    left_out: Sequence[int]


def run_train_job(job: TrainJob, out: Path, *, progress: Progress, overwrite: bool) -> dict[str, Any]:
    """Train and save to `out`; return what train.json holds.

    A folder with the checkpoint of a training that was stopped is gone on with; train.json is written last.

    Raises:
        ExpungeError: anything about the job, its inputs or the folder is not as it should be.
    """
    with output_folder(out, overwrite=overwrite, result=RESULT, goes_on=CHECKPOINT_FILE):
        if overwrite:
            remove_files(out, [CHECKPOINT_FILE])
        return _train(job, out, progress)


def _train(job: TrainJob, out: Path, progress: Progress) -> dict[str, Any]:
    runtime = make_runtime(job, progress)
    context = Context(runtime)
    inputs = _load_inputs(job)
    trained = train_classifier(
        lambda: build_classifier(inputs.job.model).classifier,
        Subset(inputs.splits.train, inputs.chosen),
        job.recipe,
        seed=job.seed,
        context=context,
        checkpoint=out / CHECKPOINT_FILE,
    )
    metadata = {"format": "pt", **_metadata(inputs, trained)}
    result = _to_result(inputs, trained, _measure(inputs, trained, runtime), context)
    with replacing(out, last=RESULT) as stage:
        weights = write_tensors(stage / WEIGHTS_FILE, trained.network.state_dict(), metadata)
        write_json(stage / RESULT, {**result, "files": {WEIGHTS_FILE: weights}})
    remove_files(out, [CHECKPOINT_FILE])
    return result


def build_classifier(part: ModelPart) -> LoadedClassifier:
    """Return the classifier that training starts from; that its weights are random is no news here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* has random weights", category=ExpungeWarning)
        return load_classifier(model_source(part))


def _load_inputs(job: TrainJob) -> _Inputs:
    own = build_classifier(job.model)
    request = replace(data_request(job.data, own), class_names=(), num_classes=job.model.num_classes)
    splits = load_data(job.data.source, request)
    classes = job.model.num_classes or len(splits.class_names) or int(splits.train.labels.max()) + 1
    left_out = _left_out(job.leave_out, splits)
    chosen = chosen_rows(job, splits.train, left_out)
    return _Inputs(replace(job, model=replace(job.model, num_classes=classes)), splits, chosen, left_out)


def chosen_rows(job: TrainJob, images: Images, left_out: Sequence[int]) -> list[int]:
    """Return the rows of the training images that `job` trains on."""
    drawn: Sequence[int] = range(len(images.ids))
    if job.train_rows is not None:
        drawn = random_rows(images, job.train_rows, seed=job.seed, name="train_rows", what="training images")
    without = set(left_out)
    return [row for row in drawn if row not in without]


def _left_out(part: LeaveOutPart, splits: DataSplits) -> list[int]:
    if part.table is not None:
        return rows_from_table(Path(part.table), splits.train, class_names=splits.class_names)[0]
    if part.rows is not None:
        return rows_from_numbers(part.rows, splits.train)
    return [] if part.run is None else rows_of_run(Path(part.run), splits.train)


def rows_of_run(folder: Path, images: Images) -> list[int]:
    """Return the rows of `images` that the run in `folder` forgot, from its predictions.csv.

    Raises:
        DataError: there is no such table.
        ForgetSetError: an id that `images` does not have.
    """
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        raise DataError(str(folder), "the folder of an `expunge run`", f"one without {PREDICTIONS_FILE}")
    row_of = {name: row for row, name in enumerate(images.ids)}
    rows = []
    for line in read_rows(path):
        written = line.get("id")
        if written is None:
            raise DataError(str(path), "a column id", ", ".join(line), "is it of an expunge run?")
        row = row_of.get(unescape_cell(written), row_of.get(written))
        if row is None:
            raise ForgetSetError(str(path), f"ids of the training images, such as {images.ids[0]}", written)
        rows.append(row)
    return list(dict.fromkeys(rows))


def _measure(inputs: _Inputs, trained: Classifier, runtime: Runtime) -> dict[str, dict[str, float]]:
    job, splits = inputs.job, inputs.splits
    parts: dict[str, Images] = {}
    if job.data.retain_rows:
        seen = Subset(splits.train, inputs.chosen)
        parts["train"] = Subset(seen, random_rows(seen, min(job.data.retain_rows, len(inputs.chosen)), seed=job.seed))
    if inputs.left_out:
        parts["left_out"] = Subset(splits.train, inputs.left_out)
    if splits.test is not None and job.data.test_rows:
        count = min(job.data.test_rows, len(splits.test.ids))
        parts["test"] = Subset(splits.test, random_rows(splits.test, count, seed=job.seed))
    like = splits.train.load(inputs.chosen[:1])
    return {name: _accuracy(name, images, like, trained, runtime) for name, images in parts.items()}


def _accuracy(name: str, images: Images, like: Tensor, trained: Classifier, runtime: Runtime) -> dict[str, float]:
    """Return the accuracy on the images that can be read, and their number."""
    kept, notes = readable(name, images, like, runtime.batch_size)
    for note in notes:
        warnings.warn(note, ExpungeWarning, stacklevel=2)
    if not len(kept.labels):
        return {"accuracy": 0.0, "n": 0}
    found = predict(trained, kept, runtime, name=name)
    return {"accuracy": found.accuracy, "n": len(kept.labels)}


def _metadata(inputs: _Inputs, trained: Classifier) -> dict[str, str]:
    """Return what stands in the header of the weights, so that the file says what it is."""
    job, model = inputs.job, inputs.job.model
    values: dict[str, Any] = {
        "num_classes": model.num_classes,
        **asdict(trained.normalisation),
        "recipe": to_mapping(job.recipe),
    }
    values |= {"seed": job.seed, "train_rows": len(inputs.chosen), "left_out_rows": len(inputs.left_out)}
    texts = {"architecture": model.architecture, "weights_sha256": trained.sha256()}
    return {**texts, **{name: json.dumps(value) for name, value in values.items()}}


def _to_result(
    inputs: _Inputs, trained: Classifier, accuracy: Mapping[str, Mapping[str, float]], context: Context
) -> dict[str, Any]:
    return {
        "schema_version": TRAIN_SCHEMA_VERSION,
        "job": to_mapping(inputs.job),
        "accuracy": accuracy,
        "train_rows": len(inputs.chosen),
        "left_out": [inputs.splits.train.ids[row] for row in inputs.left_out],
        "weights_sha256": trained.sha256(),
        "cost": asdict(context.cost()),
        "versions": {"expunge": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": str(trained.device),
    }
