"""Networks of torchvision and timm whose first layers are made for images of 32x32: cifar:resnet18 and others.

Made for 224x224, they shrink an image to a thirty-second before they look at it closely. Here the first convolution is
3x3 and moves by one pixel, and the pooling after it is gone; vision transformers cut patches of 4x4.
"""

from collections.abc import Callable
from typing import Any, cast

from torch import nn

from expunge.models.sources.extras import import_extra

SIDE, PATCH = 32, 4


def _resnet(name: str) -> Callable[[int], nn.Module]:
    def build(num_classes: int) -> nn.Module:
        network = _torchvision(name, num_classes)
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
        return cast(nn.Module, network)

    return build


def _mobilenet_v2(num_classes: int) -> nn.Module:
    """Return MobileNetV2 whose first convolution and first widening block keep the size."""
    network = _torchvision("mobilenet_v2", num_classes)
    network.features[0][0].stride = (1, 1)
    network.features[2].conv[1][0].stride = (1, 1)
    return cast(nn.Module, network)


def _densenet121(num_classes: int) -> nn.Module:
    network = _torchvision("densenet121", num_classes)
    network.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.features.pool0 = nn.Identity()
    return cast(nn.Module, network)


def _squeezenet(num_classes: int) -> nn.Module:
    """Return SqueezeNet 1.1; its first pooling stays, as there are three in all."""
    network = _torchvision("squeezenet1_1", num_classes)
    network.features[0] = nn.Conv2d(3, 64, 3, padding=1)
    return cast(nn.Module, network)


def _vit(name: str) -> Callable[[int], nn.Module]:
    def build(num_classes: int) -> nn.Module:
        timm = import_extra("timm")
        network = timm.create_model(name, num_classes=num_classes, img_size=SIDE, patch_size=PATCH)
        return cast(nn.Module, network)

    return build


def _torchvision(name: str, num_classes: int) -> Any:  # noqa: ANN401 - torchvision has no types
    return import_extra("torchvision.models").get_model(name, weights=None, num_classes=num_classes)


SMALL_IMAGE_NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": _resnet("resnet18"),
    "resnet50": _resnet("resnet50"),
    "mobilenetv2": _mobilenet_v2,
    "densenet121": _densenet121,
    "squeezenet": _squeezenet,
    "vit-b": _vit("vit_base_patch16_224"),
    "vit-ti": _vit("vit_tiny_patch16_224"),
}
