"""Classifiers out of the networks that people have, without being told what they are."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.base.errors import ClassifierError
from expunge.data.preprocessing import AS_IS
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating
from expunge.models.normalised import Normalised
from expunge.models.pixels import Normalisation
from expunge.models.wrappers import own_network


def recognise(model: Classifier | nn.Module) -> Classifier | None:
    """Return the classifier that `model` is, or that timm or transformers know it as; None for any other network.

    A model of transformers without an image processor that can be followed is any other network.

    Raises:
        ClassifierError: it is no network, or one that can't be edited; see `own_network`.
    """
    if isinstance(model, Classifier):
        return model
    network = own_network(model)
    if hasattr(getattr(network, "config", None), "id2label"):
        try:
            return Classifier.from_transformers(network)
        except ClassifierError:
            return None
    if hasattr(network, "pretrained_cfg") and isinstance(getattr(network, "num_classes", None), int):
        return Classifier.from_timm(network)
    return None


def classifier_of(
    model: Classifier | nn.Module, x: Float[Tensor, "k c h w"], normalisation: Normalisation | None
) -> Classifier:
    """Return the classifier that `model` is; of a plain network, with as many classes as it answers with for `x`.

    Args:
        model: see `recognise`.
        x: at least one image.
        normalisation: what the images' own data set does to them; it counts before what a library knows of the model,
            which may have been trained anew. A `Classifier` keeps its own.

    Raises:
        ClassifierError: the network doesn't take the images.
    """
    known = recognise(model)
    if known is not None and (known is model or normalisation is None):
        return known
    network = known.network if known is not None else own_network(model)  # type: ignore[arg-type]
    count = _count_classes(network, x[:1], normalisation) if known is None else known.num_classes
    return Classifier.wrap(
        network,
        num_classes=count,
        mean=None if normalisation is None else normalisation.mean,
        std=None if normalisation is None else normalisation.std,
        class_names=() if known is None else known.class_names,
        preprocessing=AS_IS if known is None else known.preprocessing,
    )


def _count_classes(network: nn.Module, x: Tensor, normalisation: Normalisation | None) -> int:
    module = Normalised(network, normalisation or Normalisation())
    weight = next(network.parameters(), None)
    if weight is None:
        raise ClassifierError("classifier", "a module with weights to edit", "one without parameters")
    try:
        with torch.no_grad(), evaluating(module):
            logits = module(x.to(weight.device))
    except RuntimeError as error:
        reason = f"{error}".split("\n")[0]
        raise ClassifierError("model", f"a network that takes images of {tuple(x.shape[1:])}", reason) from error
    if logits.ndim != 2:
        raise ClassifierError("model", "a classifier, which answers (b, classes)", str(tuple(logits.shape)))
    return int(logits.shape[1])
