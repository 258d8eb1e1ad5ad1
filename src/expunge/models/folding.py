"""A frozen classifier that answers the same with less work: BatchNorm folded into the convolutions in front of it."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from expunge.models.classifier import Classifier

TOLERANCE = 1e-3
"""Share of the largest logit by which folding may move an answer; in float32 it moves by about 1e-6 of it."""


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
    with torch.no_grad():
        wanted, found = plain(x), folded(x)
    same = float((wanted - found).abs().max()) <= TOLERANCE * float(wanted.abs().max())
    return folded if same else plain


@contextmanager
def _followers(module: nn.Module, sharing: Collection[nn.Module]) -> Iterator[dict[str, str]]:
    """Collect the names of each convolution and of the BatchNorm that takes its output, called once and not shared."""
    calls: Counter[str] = Counter()
    makers: dict[int, tuple[str, Tensor]] = {}
    takers: dict[str, str] = {}
    pairs: dict[str, str] = {}

    def made(name: str, output: Tensor) -> None:
        calls[name] += 1
        makers[id(output)] = name, output  # held, so that no other tensor gets its id

    def taken(name: str, entered: Tensor) -> None:
        calls[name] += 1
        if id(entered) in makers:
            takers[name] = makers[id(entered)][0]

    hooks, shared = [], {id(part) for part in sharing}
    for name, part in module.named_modules():
        if id(part) in shared:
            continue
        if isinstance(part, nn.Conv2d):
            hooks.append(part.register_forward_hook(lambda _, inputs, output, name=name: made(name, output)))
        elif isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
            hooks.append(part.register_forward_pre_hook(lambda _, inputs, name=name: taken(name, inputs[0])))
    try:
        yield pairs
        pairs.update({maker: taker for taker, maker in takers.items() if calls[maker] == calls[taker] == 1})
    finally:
        for hook in hooks:
            hook.remove()


def _what_is_left(norm: nn.Module) -> nn.Module:
    """Return what a BatchNorm does besides: timm's holds dropout and activation."""
    parts = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*parts).eval()
