"""What a job works on: the classifier, the images, the forget set, the images to measure on, and how they are used."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch

from expunge.base.errors import DataError, ExpungeWarning, ForgetSetError
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import draw_numbers, seeded_generator
from expunge.data import (
    DataRequest,
    DataSplits,
    forget_set,
    load_data,
    random_rows,
    rows_from_numbers,
    rows_from_table,
)
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset
from expunge.data.labels import label_from_text, read_class_names
from expunge.data.sources.sizes import note_on_size
from expunge.jobs.job import DataPart, GoalChoice, Job, ModelPart
from expunge.methods.arguments import as_mistakes
from expunge.models.pixels import Normalisation
from expunge.models.sources import LoadedClassifier, ModelSource, load_classifier
from expunge.task.evaluation import predict
from expunge.task.goals import GOALS, Correct, Goal, Misclassify
from expunge.task.words import CLASS_PART

RANDOM = "forget.random"
"""The setting that says how many images are drawn, for errors."""


@dataclass(frozen=True, slots=True)
class JobInputs:
    """What a job works on: the classifier, the images, the rows to forget, and the goal if it is not the default.

    `forgotten_class` is the label of the class that is forgotten as a whole; None where rows are.
    """

    loaded: LoadedClassifier
    splits: DataSplits
    rows: list[int]
    forget_set: ForgetSet
    goal: Goal | None
    forgotten_class: int | None = None


def load_sources(job: Job, runtime: Runtime) -> tuple[LoadedClassifier, DataSplits]:
    """Return a job's classifier, on the runtime's device, and its images.

    Raises:
        ExpungeError: either cannot be loaded, or they do not fit each other.
    """
    loaded = load_classifier(model_source(job.model))
    loaded = replace(loaded, classifier=loaded.classifier.to(runtime.device))
    return loaded, load_images(job.data, loaded)


def load_images(part: DataPart, loaded: LoadedClassifier) -> DataSplits:
    """Return the images of `part` as the classifier wants them.

    Raises:
        DataError: see `load_data`.

    Warns:
        ExpungeWarning: they are enlarged, as the classifier's library does by default.
    """
    request = data_request(part, loaded)
    splits = load_data(part.source, request)
    note = note_on_size(splits.train, request.preprocessing, loaded.architecture)
    if note and part.resize is None and part.crop is None:
        warnings.warn(note, ExpungeWarning, stacklevel=2)
    return splits


def load_inputs(job: Job, runtime: Runtime) -> JobInputs:
    """Return what `job` works on.

    Raises:
        ExpungeError: the classifier, the images or the rows are not as they should be.
    """
    return select_inputs(job, *load_sources(job, runtime), runtime)


def select_inputs(job: Job, loaded: LoadedClassifier, splits: DataSplits, runtime: Runtime) -> JobInputs:
    """Return what `job` works on, of a classifier and images that are loaded already.

    Raises:
        ExpungeError: the rows are not as they should be.
    """
    if job.goal is GoalChoice.CORRECT:
        rows, chosen = _select_mistakes(job, loaded, splits, runtime)
        return JobInputs(loaded, splits, rows, chosen, Correct())
    if job.forget.class_name is not None:
        return _select_class(job.forget.class_name, loaded, splits)
    rows, new_labels = _select_rows(job, loaded, splits)
    goal = None if job.goal is GoalChoice.AUTO else GOALS[job.goal.value]
    return JobInputs(loaded, splits, rows, forget_set(splits.train, rows, new_labels=new_labels), goal)


def model_source(part: ModelPart) -> ModelSource:
    """Return the classifier's source that `part` describes."""
    weights: Path | Literal["pretrained"] | None = None
    if part.weights is not None:
        weights = cast(Literal["pretrained"], part.weights) if part.weights == "pretrained" else Path(part.weights)
    normalisation = Normalisation.read(part.mean, part.std)
    names = () if part.classes is None else read_class_names(part.classes)
    return ModelSource(part.architecture, weights, part.num_classes, normalisation, names, part.weights_key)


def data_request(part: DataPart, loaded: LoadedClassifier) -> DataRequest:
    """Return how the images of `part` are wanted: as it says, and as the classifier does where it says nothing."""
    preprocessing = loaded.preprocessing.sized(part.resize, part.crop)
    return loaded.request(preprocessing, Path(part.table) if part.table else None)


def _select_rows(job: Job, loaded: LoadedClassifier, splits: DataSplits) -> tuple[list[int], list[int] | None]:
    forget, count = job.forget, loaded.classifier.num_classes
    if forget.table is not None:
        return rows_from_table(Path(forget.table), splits.train, class_names=splits.class_names, num_classes=count)
    if forget.indices is not None:
        return rows_from_numbers(forget.indices, splits.train), None
    return random_rows(splits.train, forget.random or 0, seed=job.seed, name=RANDOM), None


def _select_class(name: str, loaded: LoadedClassifier, splits: DataSplits) -> JobInputs:
    """Return the inputs with all training images of a class as rows."""
    names = _class_names(loaded, splits)
    label = label_from_text(name, names, place="--forget-class")
    rows = (splits.train.labels == label).nonzero().flatten().tolist()
    if not rows:
        raise DataError("--forget-class", "a class with training images", f"{names[label]}, which has none")
    return JobInputs(loaded, splits, rows, forget_set(splits.train, rows), Misclassify(), label)


def _select_mistakes(
    job: Job, loaded: LoadedClassifier, splits: DataSplits, runtime: Runtime
) -> tuple[list[int], ForgetSet]:
    """Return rows that the classifier gets wrong, as rows to move from its answer to their label."""
    if job.forget.random is None:
        rows, new_labels = _select_rows(job, loaded, splits)
        if new_labels is not None:
            note = "the new labels are not used: with the goal correct an image gets its label in the data"
            warnings.warn(note, ExpungeWarning, stacklevel=2)
        chosen = forget_set(splits.train, rows)
        answers = predict(loaded.classifier, Subset(splits.train, rows), runtime, name="find mistakes").predicted
    else:
        found = predict(loaded.classifier, splits.train, runtime, name="find mistakes")
        mistakes = (found.predicted != found.labels).nonzero().flatten().tolist()
        if not mistakes:
            raise ForgetSetError("goal", "images that the classifier answers wrongly now, to correct them", "none")
        what = "images that the classifier answers wrongly"
        drawn = random_rows(Subset(splits.train, mistakes), job.forget.random, seed=job.seed, name=RANDOM, what=what)
        rows = [mistakes[number] for number in drawn]
        chosen, answers = forget_set(splits.train, rows), found.predicted[torch.tensor(rows)]
    return rows, as_mistakes(chosen, answers)


def rows_but(train: Images, forgotten: Sequence[int]) -> Subset | None:
    """Return the training rows that are not to be forgotten, if there are any."""
    left_out = set(forgotten)
    retained = [row for row in range(len(train.ids)) if row not in left_out]
    return Subset(train, retained) if retained else None


def name_classes(inputs: JobInputs) -> tuple[str, ...]:
    """Return a name for each class: the classifier's, the data's, or else its number."""
    return _class_names(inputs.loaded, inputs.splits)


def _class_names(loaded: LoadedClassifier, splits: DataSplits) -> tuple[str, ...]:
    count = loaded.classifier.num_classes
    for names in (loaded.classifier.class_names, splits.class_names):
        if len(names) == count:
            return names
    return tuple(str(number) for number in range(count))


def forgotten_class(inputs: JobInputs) -> str:
    """Return the name of the class that is forgotten as a whole; empty where rows are."""
    return "" if inputs.forgotten_class is None else name_classes(inputs)[inputs.forgotten_class]


def measured_parts(
    job: Job, splits: DataSplits, retain: Subset | None, forgotten: int | None = None
) -> dict[str, Images]:
    """Return the retain and test rows that the job measures on, by name.

    Where a class is forgotten as a whole, its test rows are the part `class`, and `test` is the rest.
    """
    parts: dict[str, Images] = {}
    test = splits.test
    if retain is not None and job.data.retain_rows:
        parts["retain"] = Subset(retain.images, _sample(retain.rows, job.data.retain_rows, job.seed))
    if test is not None and job.data.test_rows:
        chosen = _sample(range(len(test.ids)), job.data.test_rows, job.seed)
        in_class = test.labels[torch.tensor(chosen)] == (-1 if forgotten is None else forgotten)
        split = {"test": ~in_class, CLASS_PART: in_class}
        for name, flags in split.items():
            rows = [chosen[number] for number in flags.nonzero().flatten().tolist()]
            parts |= {name: Subset(test, rows)} if rows else {}
    return parts


def whole_parts(job: Job, inputs: JobInputs) -> tuple[str, ...]:
    """Return the parts of which `measured_parts` leaves no image out; test images are a sample in any case."""
    every = len(inputs.splits.train.ids) - len(inputs.rows) <= job.data.retain_rows
    return ("forget", "retain") if every else ("forget",)


def _sample(rows: Sequence[int], count: int, seed: int) -> list[int]:
    return [rows[number] for number in draw_numbers(count, len(rows), seeded_generator(seed, "measured rows"))]


def fill_model(part: ModelPart, loaded: LoadedClassifier) -> ModelPart:
    """Return the part with the mean and std that the loaded classifier has."""
    return replace(part, mean=loaded.normalisation.mean, std=loaded.normalisation.std)


def fill_data(part: DataPart, loaded: LoadedClassifier) -> DataPart:
    """Return the part with the sizes that images were given, as far as a job can say them: a side, and a square."""
    used = data_request(part, loaded).preprocessing
    crop = used.crop[0] if used.crop is not None and used.crop[0] == used.crop[1] else None
    return replace(part, resize=used.resize if isinstance(used.resize, int) else None, crop=crop)


def chosen_settings(job: Job, inputs: JobInputs) -> dict[str, Any]:
    """Return what images and classifier were used with, whoever chose it, as plain values."""
    used, own = data_request(job.data, inputs.loaded).preprocessing, inputs.loaded.normalisation
    sizes: dict[str, int | tuple[int, int] | None] = {"resize": used.resize, "crop": used.crop}
    return {
        "shape": list(inputs.forget_set.x.shape[1:]),
        **{name: list(size) if isinstance(size, tuple) else size for name, size in sizes.items()},
        "interpolation": used.interpolation.value,
        "mean": list(own.mean),
        "std": list(own.std),
        "num_classes": inputs.loaded.classifier.num_classes,
    }
