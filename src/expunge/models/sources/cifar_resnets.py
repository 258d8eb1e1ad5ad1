"""Networks for CIFAR: cifar:resnet20 to cifar:resnet110, a variant with a wide stem, and what small_images adapts."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from expunge.base.errors import ClassifierError, suggest
from expunge.models.heads import last_length
from expunge.models.sources.small_images import SMALL_IMAGE_NETWORKS
from expunge.models.sources.source import PRETRAINED, Architecture, FoundModel, ModelSource, warn_random
from expunge.models.sources.weights import fill

DEFAULT_CLASSES = 10


class CifarResNet(nn.Module):
    """ResNet-(6n+2) for images of any size, three stages of n blocks with 16, 32 and 64 channels.

    Source: He, Zhang, Ren and Sun 2016, arXiv 1512.03385, section 4.2: shortcuts without weights (option A), then
    global average pooling and a linear layer. n = 3, 5, 7, 9, 18 are ResNet-20, 32, 44, 56 and 110.
    """

    def __init__(self, blocks: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(_OptionABlock(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(*(_OptionABlock(32 if i else 16, 32, 1 if i else 2) for i in range(blocks)))
        self.layer3 = nn.Sequential(*(_OptionABlock(64 if i else 32, 64, 1 if i else 2) for i in range(blocks)))
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Return logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


class BottleneckStemResNet(nn.Module):
    """A ResNet-20 for 32x32 images whose stem has 64 channels, which its first stage narrows to 16.

    Differs from the paper: shortcuts that change shape are 1x1 convolutions with BatchNorm; a block does not end
    with a ReLU, each stage does; 4x4 average pooling leaves 2x2x64 values for the linear layer.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _projected_stage(64, 16, 1)
        self.layer2 = _projected_stage(16, 32, 2)
        self.layer3 = _projected_stage(32, 64, 2)
        self.linear = nn.Linear(256, num_classes)

    def forward(self, x: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b classes"]:
        """Return logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            x = F.relu(stage(x))
        logits: Tensor = self.linear(F.avg_pool2d(x, 4).flatten(1))
        return logits


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet20": lambda num_classes: CifarResNet(3, num_classes),
    "resnet32": lambda num_classes: CifarResNet(5, num_classes),
    "resnet44": lambda num_classes: CifarResNet(7, num_classes),
    "resnet56": lambda num_classes: CifarResNet(9, num_classes),
    "resnet110": lambda num_classes: CifarResNet(18, num_classes),
    "resnet20-bottleneck-stem": BottleneckStemResNet,
    **SMALL_IMAGE_NETWORKS,
}


def load_cifar_resnet(architecture: Architecture, source: ModelSource) -> FoundModel:
    """Return a network for CIFAR with the weights of `source`, or random ones (10 classes unless the source says).

    Raises:
        ClassifierError: an unknown name, options, "pretrained", weights that do not fit, or a network of torchvision or
            timm that is not installed.
    """
    architecture.refuse_options("cifar")
    build = ARCHITECTURES.get(architecture.name)
    if build is None:
        hint = suggest(architecture.name, ARCHITECTURES)
        raise ClassifierError("cifar:", f"one of {', '.join(ARCHITECTURES)}", architecture.name, hint)
    if source.weights == PRETRAINED:
        raise ClassifierError("weights", "a file: there is nothing to download for cifar:", PRETRAINED)
    if source.weights is None:
        warn_random(source.architecture)
        num_classes = source.num_classes or DEFAULT_CLASSES
        return FoundModel(build(num_classes), num_classes)
    draft = build(source.num_classes or DEFAULT_CLASSES)
    weights = source.read_weights(draft)
    num_classes = source.num_classes or last_length(draft, weights)
    network = build(num_classes)
    fill(network, weights, place=str(source.weights))
    return FoundModel(network, num_classes)


class _OptionABlock(nn.Module):
    """Two 3x3 convolutions; the shortcut takes every `stride`-th pixel and pads new channels with zeros."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.padding = stride, (channels - channels_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, self.padding, self.padding))
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + shortcut)


class _ProjectedBlock(nn.Module):
    """Two 3x3 convolutions; where the shape changes, the shortcut is a 1x1 convolution with BatchNorm."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        sum_of_both: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x)
        return sum_of_both


def _projected_stage(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    first = _ProjectedBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(_ProjectedBlock(channels, channels, 1) for _ in range(2)))
