"""What weights don't say of a classifier: image size, preprocessing, normalisation, class names, architecture."""

from dataclasses import asdict, dataclass
from pathlib import Path

from expunge.base.disk import write_json
from expunge.data.preprocessing import Preprocessing
from expunge.models.classifier import Classifier
from expunge.models.libraries import library_of, shortest

DESCRIPTION_FILE, WEIGHTS_FILE = "classifier.json", "model.safetensors"
DESCRIPTION_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Description:
    """How a classifier is used, beyond what `Classifier` knows.

    Args:
        shape: (c, h, w) of its images.
        preprocessing: what is done to a photograph before; None if nobody said.
        architecture: where its network comes from, as `--model` takes it; None if nobody said.
    """

    shape: tuple[int, int, int]
    preprocessing: Preprocessing | None = None
    architecture: str | None = None

    def portable_architecture(self) -> str | None:
        """Return the architecture; None where it is a folder of this machine, whose name is nobody else's business.

        Its library's configuration, which lies beside the description, says what it is.

        >>> Description((3, 8, 8), None, "timm:local-dir:mine").portable_architecture()
        >>> Description((3, 8, 8), None, "timm:resnet10t").portable_architecture()
        'timm:resnet10t'
        """
        source, _, name = (self.architecture or "").partition(":")
        is_folder = name.startswith("local-dir:") or (source == "transformers" and Path(name).is_dir())
        return None if is_folder else self.architecture


def write_description(classifier: Classifier, description: Description, folder: Path) -> Path:
    """Write classifier.json to `folder` and return its path; equal classifiers give equal bytes."""
    normalisation = classifier.normalisation
    preprocessing = description.preprocessing
    path = folder / DESCRIPTION_FILE
    content = {
        "schema_version": DESCRIPTION_SCHEMA_VERSION,
        "library": library_of(classifier.network),
        "architecture": description.portable_architecture(),
        "num_classes": classifier.num_classes,
        "class_names": list(classifier.class_names),
        "shape": list(description.shape),
        "bounds": [classifier.bounds.lower, classifier.bounds.upper],
        "mean": shortest(normalisation.mean),
        "std": shortest(normalisation.std),
        "preprocessing": None if preprocessing is None else asdict(preprocessing),
    }
    write_json(path, content)
    return path
