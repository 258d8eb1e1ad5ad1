"""What was chosen where a job left something open: size, crop, mean, std."""

from dataclasses import replace
from typing import Any

from expunge.data.preprocessing import Preprocessing
from expunge.jobs.inputs import JobInputs, data_request
from expunge.jobs.job import DataPart, Job, ModelPart
from expunge.models.sources import LoadedClassifier


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
    sizes = {name: list(size) if isinstance(size, tuple) else size for name, size in _sizes(used).items()}
    return {
        "shape": list(inputs.forget_set.x.shape[1:]),
        **sizes,
        "interpolation": used.interpolation.value,
        "mean": list(own.mean),
        "std": list(own.std),
        "num_classes": inputs.loaded.classifier.num_classes,
    }


def _sizes(used: Preprocessing) -> dict[str, int | tuple[int, int] | None]:
    return {"resize": used.resize, "crop": used.crop}
