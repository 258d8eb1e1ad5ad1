"""Whether a network takes images in grey."""

from dataclasses import replace

from torch import nn

from expunge.data.preprocessing import Preprocessing
from expunge.models.pixels import Normalisation


def takes_grey(network: nn.Module, size: tuple[int, int] | None = None) -> bool:
    """Return whether a network takes images of one channel, as far as its first convolution or linear layer tells.

    Args:
        network: its layers are in the order in which they were made.
        size: height and width of its images, where known; a linear layer that sees them whole has an input a value.

    >>> takes_grey(nn.Conv2d(1, 4, 3)), takes_grey(nn.Linear(12, 2), (3, 4)), takes_grey(nn.Linear(12, 2))
    (True, True, False)
    """
    first = next((layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))), None)
    if isinstance(first, nn.Conv2d):
        return first.in_channels == 1
    return first is not None and size is not None and first.in_features == size[0] * size[1]


def in_its_channels(preprocessing: Preprocessing, network: nn.Module, normalisation: Normalisation) -> Preprocessing:
    """Return the preprocessing, which makes pictures grey if the network takes them so.

    What it says of channels itself counts first. A normalisation with several means is of colours.
    """
    if preprocessing.channels is not None or len(normalisation.mean) > 1:
        return preprocessing
    resized = preprocessing.resize if isinstance(preprocessing.resize, tuple) else None
    return replace(preprocessing, channels=1) if takes_grey(network, preprocessing.crop or resized) else preprocessing
