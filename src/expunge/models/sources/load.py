"""Where classifiers come from: the table of model sources, and functions of the user's own code."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from expunge.base.errors import ClassifierError
from expunge.base.functions import current_folder_first, find_function
from expunge.data.preprocessing import Preprocessing
from expunge.data.sources.splits import DataRequest
from expunge.models.channels import in_its_channels
from expunge.models.classifier import Classifier
from expunge.models.heads import last_length
from expunge.models.pixels import Normalisation
from expunge.models.sources.cifar_resnets import load_cifar_resnet
from expunge.models.sources.source import PRETRAINED, Architecture, FoundModel, ModelSource, parse_architecture
from expunge.models.sources.timm_models import load_timm
from expunge.models.sources.torchvision_models import load_torchvision
from expunge.models.sources.transformers_models import load_transformers
from expunge.models.sources.weights import fill
from expunge.models.wrappers import own_network

SOURCES: dict[str, Callable[[Architecture, ModelSource], FoundModel]] = {
    "timm": load_timm,
    "torchvision": load_torchvision,
    "transformers": load_transformers,
    "cifar": load_cifar_resnet,
}
OTHERWISE = ", or timm:, torchvision:, transformers: or cifar: with a name"
OWN = "expunge."
"""Modules of this package begin with this."""


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A classifier in eval mode with what is needed to use it and to name it.

    Args:
        classifier: takes pixels in 0..1; float32 on the CPU.
        preprocessing: what to do to images before.
        architecture: as it was asked for.
        weights_sha256: one hash over the weights as loaded, whatever file they came from.
        normalisation: what its network has done to pixels in 0..1, as it was given or as its library says.
        names_given: whether the class names are the user's rather than its library's.
    """

    classifier: Classifier
    preprocessing: Preprocessing
    architecture: str
    weights_sha256: str
    normalisation: Normalisation
    names_given: bool = False

    def request(self, preprocessing: Preprocessing | None = None, table: Path | None = None) -> DataRequest:
        """Return how this classifier wants its images, with its class names and their number.

        Args:
            preprocessing: in place of its own.
            table: the CSV table of a `folder:` source.
        """
        own = self.classifier
        wanted = in_its_channels(preprocessing or self.preprocessing, own.network, own.normalisation)
        return DataRequest(wanted, table, own.class_names, own.num_classes, names_given=self.names_given)


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
    found = SOURCES[prefix](parse_architecture(rest), source) if prefix in SOURCES else _load_from_function(source)
    normalisation = _normalisation(found, source)
    classifier = Classifier.wrap(
        found.network.float().eval(),
        num_classes=max(2, found.num_classes),  # one logit says yes or no
        mean=normalisation.mean,
        std=normalisation.std,
        class_names=source.class_names or found.class_names,
        preprocessing=found.preprocessing,
    )
    classifier.module.eval()
    return LoadedClassifier(
        classifier,
        classifier.preprocessing,
        source.architecture,
        classifier.sha256(),
        normalisation,
        names_given=bool(source.class_names),
    )


def _load_from_function(source: ModelSource) -> FoundModel:
    """Return the network that the function of `source` returns, unwrapped, with its weights if it names a file.

    Raises:
        ClassifierError: "pretrained" is asked for, the weights do not fit, or see `make_network`.
    """
    if source.weights == PRETRAINED:
        raise ClassifierError("weights", "a file, or none where the function loads its own", PRETRAINED)
    network = own_network(make_network(source.architecture, otherwise=OTHERWISE))
    if source.weights is not None:
        fill(network, source.read_weights(network), place=str(source.weights))
    return FoundModel(network, source.num_classes or last_length(network))


def make_network(name: str, *, otherwise: str = "") -> nn.Module:
    """Return the network that the function package.module:function returns.

    The module is imported from the current folder or from Python's path. Importing it runs it, as `python -m` does.

    Args:
        name: of the function.
        otherwise: what else the name could have been, for the error's text.

    Raises:
        ClassifierError: there is no such function, it fails, or it returns something else.
    """
    with current_folder_first():
        make = find_function(name, ClassifierError, otherwise=otherwise, known=SOURCES)
        try:
            network = make()
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ClassifierError(name, "a function that works without arguments", reason) from error
    if not isinstance(network, nn.Module):
        raise ClassifierError(name, "a function that returns an nn.Module", type(network).__name__)
    return network


def names_code(architecture: object) -> bool:
    """Return whether loading this architecture runs a function of somebody's code.

    >>> names_code("nets:build"), names_code("timm:resnet18")
    (True, False)
    """
    if not isinstance(architecture, str) or ":" not in architecture:
        return False
    return architecture.partition(":")[0] not in SOURCES and not architecture.startswith(OWN)


def _normalisation(found: FoundModel, source: ModelSource) -> Normalisation:
    known = source.normalisation or found.normalisation
    if known is not None:
        return known
    raise ClassifierError(
        "mean and std",
        "the values that the classifier was trained with",
        f"none: {source.architecture} does not say",
        "pass --mean and --std; --mean 0 --std 1 if it takes pixels in 0..1 as they are",
    )
