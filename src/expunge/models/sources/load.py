"""Where classifiers come from: the table of model sources."""

from collections.abc import Callable
from dataclasses import dataclass

from expunge.base.errors import ClassifierError
from expunge.data.preprocessing import Preprocessing
from expunge.models.classifier import Classifier
from expunge.models.sources.cifar_resnets import load_cifar_resnet
from expunge.models.sources.function_models import load_from_function
from expunge.models.sources.source import Architecture, FoundModel, ModelSource, parse_architecture
from expunge.models.sources.timm_models import load_timm
from expunge.models.sources.torchvision_models import load_torchvision
from expunge.models.sources.transformers_models import load_transformers

SOURCES: dict[str, Callable[[Architecture, ModelSource], FoundModel]] = {
    "timm": load_timm,
    "torchvision": load_torchvision,
    "transformers": load_transformers,
    "cifar": load_cifar_resnet,
}


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A classifier in eval mode with what is needed to use it and to name it.

    Args:
        classifier: takes pixels in 0..1; float32 on the CPU.
        preprocessing: what to do to images before.
        architecture: as it was asked for.
        weights_sha256: one hash over the weights as loaded, whatever file they came from.
    """

    classifier: Classifier
    preprocessing: Preprocessing
    architecture: str
    weights_sha256: str


def load_classifier(source: ModelSource) -> LoadedClassifier:
    """Return the classifier that `source` describes.

    Raises:
        ClassifierError: an unknown kind of source, no mean and std given or known, or whatever the source's own
            function, the weights file or `Classifier` finds wrong.

    Warns:
        ExpungeWarning: there are no weights, and the network is random; or the library's preprocessing is unknown.

    >>> load_classifier(ModelSource("resnet20"))
    Traceback (most recent call last):
    ...
    expunge.base.errors.ClassifierError: `architecture`: expected timm:NAME, ..., got 'resnet20'
    """
    prefix, colon, rest = source.architecture.partition(":")
    if not prefix or not colon or not rest:
        known = ", ".join(f"{name}:NAME" for name in SOURCES)
        raise ClassifierError("architecture", f"{known} or package.module:function", repr(source.architecture))
    if prefix in SOURCES:
        found = SOURCES[prefix](parse_architecture(rest), source)
    else:
        found = load_from_function(prefix, rest, source)
    mean, std = _mean_and_std(found, source)
    classifier = Classifier.wrap(
        found.network.float().eval(),
        num_classes=found.num_classes,
        mean=mean,
        std=std,
        class_names=source.class_names or found.class_names,
    )
    classifier.module.eval()
    return LoadedClassifier(classifier, found.preprocessing, source.architecture, classifier.sha256())


def _mean_and_std(found: FoundModel, source: ModelSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if source.mean is not None and source.std is not None:
        return source.mean, source.std
    if found.mean is not None and found.std is not None:
        return found.mean, found.std
    raise ClassifierError(
        "mean and std",
        "the values that the classifier was trained with",
        f"none: {source.architecture} does not say",
        "pass --mean and --std; --mean 0 --std 1 if it takes pixels in 0..1 as they are",
    )
