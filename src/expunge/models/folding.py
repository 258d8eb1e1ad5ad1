"""The same answers in less time: BatchNorm folded into convolutions; images laid out as convolutions like them."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from expunge.compute.exactness import exactly
from expunge.models.classifier import Classifier
from expunge.models.modes import ForwardHook, evaluating, hooked

TOLERANCE = 1e-3
"""Share of the largest logit by which either may move an answer; in float32 it moves by about 1e-6 of it."""


def fold_batchnorm(
    classifier: Classifier, x: Float[Tensor, "b c h w"], sharing: Collection[nn.Module] = ()
) -> Classifier:
    """Return a frozen copy in eval mode, with each BatchNorm folded into the convolution whose output it takes.

    Which one follows which is seen in one forward pass. A network that then answers differently, because a
    convolution's output goes somewhere else too, is copied as it is.

    Args:
        classifier: any classifier; it stays as it is.
        x: a few images.
        sharing: modules that are neither copied nor folded: what is written to their weights is seen by both.
    """
    plain, folded = classifier.frozen_copy(sharing), classifier.frozen_copy(sharing)
    with torch.no_grad(), _followers(folded.module, sharing) as pairs:
        folded(x)
    if not pairs:
        return plain
    for before, after in pairs.items():
        convolution, norm = folded.module.get_submodule(before), folded.module.get_submodule(after)
        folded.module.set_submodule(before, fuse_conv_bn_eval(convolution, norm))  # type: ignore[arg-type, type-var]
        folded.module.set_submodule(after, _what_is_left(norm))
    with torch.no_grad(), exactly():
        wanted, found = plain(x), folded(x)
    same = float((wanted - found).abs().max()) <= TOLERANCE * float(wanted.abs().max())
    return folded if same else plain


def choose_layout(classifier: Classifier, x: Float[Tensor, "b c h w"]) -> Classifier:
    """Return the same classifier with images laid out channels-last, if it has convolutions and answers the same then.

    Convolutions are faster where the channels of a pixel lie side by side.
    A network that views its maps as if they lay channel by channel fails, or answers otherwise, and is left alone.

    Args:
        classifier: any classifier.
        x: a few images.
    """
    if not any(isinstance(part, nn.Conv2d) for part in classifier.module.modules()):
        return classifier
    turned = replace(classifier, layout=torch.channels_last)
    with torch.no_grad(), evaluating(classifier.module), exactly():
        try:
            wanted, found = classifier(x), turned(x)
        except Exception:  # the network takes no such images in any layout, which the task says, or not in this one
            return classifier
    same = float((wanted - found).abs().max()) <= TOLERANCE * float(wanted.abs().max())
    return turned if same else classifier


@contextmanager
def _followers(module: nn.Module, sharing: Collection[nn.Module]) -> Iterator[dict[str, str]]:
    """Collect the names of each convolution and of the BatchNorm that takes its output, called once and not shared."""
    calls: Counter[str] = Counter()
    makers: dict[int, tuple[str, Tensor]] = {}
    takers: dict[str, str] = {}
    pairs: dict[str, str] = {}

    def made(name: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[name] += 1
        makers[id(output)] = name, output  # held, so that no other tensor gets its id

    def taken(name: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[name] += 1
        if id(inputs[0]) in makers:
            takers[name] = makers[id(inputs[0])][0]

    hooks: list[tuple[nn.Module, ForwardHook]] = []
    shared = {id(part) for part in sharing}
    for name, part in module.named_modules():
        if id(part) in shared:
            continue
        if isinstance(part, nn.Conv2d):
            hooks.append((part, partial(made, name)))
        elif isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
            hooks.append((part, partial(taken, name)))
    with hooked(hooks):
        yield pairs
        pairs.update({maker: taker for taker, maker in takers.items() if calls[maker] == calls[taker] == 1})


def _what_is_left(norm: nn.Module) -> nn.Module:
    """Return what a BatchNorm does besides: timm's holds dropout and activation."""
    parts = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*parts).eval()
