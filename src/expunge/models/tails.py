"""A classifier cut in two: what goes through the cut stands for the image, as long as what lies before stays as it is.

An edit that changes only the layers after the cut needs no image: what entered them is enough. A cut is a module whose
output is all that later layers get to know of the image. Whether one is, is tried, not read from the architecture.
"""

import math
from contextlib import suppress
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.compute.sharing import Sharing, fitting_cache
from expunge.models.classifier import Classifier
from expunge.models.modes import ForwardHook, evaluating, hooked

TOLERANCE = 1e-4
"""Share of the largest logit by which the answer to what goes through a cut may differ from the image's."""
DIMENSIONS = 3
"""What goes through a cut is kept as (c, h, w), with sizes of 1 at the end where it has fewer dimensions."""


class Tail(nn.Module):
    """The part of a classifier's module after a cut, as a module of its own that shares all weights with the whole.

    The part before runs once, on one image of a single grey, and what it makes is thrown away.
    """

    grey: Tensor

    def __init__(self, whole: nn.Module, cut: str, grey: Float[Tensor, "1 c h w"], shape: torch.Size) -> None:
        super().__init__()
        self.whole, self.cut, self._shape = whole, cut, shape
        self.register_buffer("grey", grey, persistent=False)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Return the logits of what went through the cut."""
        entering = features.reshape(len(features), *self._shape)
        with hooked([(self.whole.get_submodule(self.cut), lambda *_: entering)]):
            logits: Tensor = self.whole(self.grey)
        return logits


class _Reached(Exception):  # noqa: N818 - no error: the rest of the network is not needed
    """A module was reached whose output is all that is wanted."""


def cut_at(classifier: Classifier, cut: str | None, x: Float[Tensor, "b c h w"]) -> Classifier:
    """Return the part after the cut as a classifier of what goes through it; weights are shared with `classifier`.

    Args:
        classifier: the whole; of what it knows of pixels, nothing holds for what goes through the cut.
        cut: name of a module, see `find_cut`; None for no cut: the classifier is all there is.
        x: an image, for the sizes.
    """
    if cut is None:
        return classifier
    grey = torch.full_like(x[:1], (classifier.bounds.lower + classifier.bounds.upper) / 2, device=classifier.device)
    shape = _through(classifier, cut, grey).shape[1:]
    return replace(classifier, module=Tail(classifier.module, cut, grey, shape), layout=torch.contiguous_format)


def enter(
    classifier: Classifier, cut: str | None, x: Float[Tensor, "n c h w"], at_once: Sharing | int = 256
) -> Float[Tensor, "n d e f"]:
    """Return what goes through the cut for each image, on the classifier's device; where there is no cut, the image."""
    if cut is None:
        return x
    sharing = at_once if isinstance(at_once, Sharing) else Sharing(at_once)

    def enter_part(part: slice) -> list[Tensor]:
        entering = _through(classifier, cut, x[part].to(classifier.device))
        return [entering.reshape(*entering.shape, *[1] * (DIMENSIONS + 1 - entering.ndim))]

    [features] = sharing.map_concat(len(x), enter_part, at_once=fitting_cache(x, classifier.device))
    return features


def find_cut(classifier: Classifier, before: nn.Module, x: Float[Tensor, "b c h w"]) -> str | None:
    """Return the name of the last module before `before` that can be cut at; None if there is none.

    Args:
        classifier: any classifier.
        before: the first layer that must lie after the cut.
        x: one image or more, to try cuts with.
    """
    x = x.to(classifier.device)
    names, made = {id(part): name for name, part in classifier.module.named_modules()}, list[tuple[str, Tensor]]()
    over = False

    def note(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal over
        over = over or module is before
        if not over and isinstance(output, Tensor) and output.is_floating_point():
            made.append((names[id(module)], output))

    hooks: list[tuple[nn.Module, ForwardHook]] = [(part, note) for part in classifier.module.modules()]
    with torch.no_grad(), evaluating(classifier.module):
        with hooked(hooks):
            logits = classifier(x)
        for cut, output in reversed(made):
            if output.ndim <= DIMENSIONS + 1 and len(output) == len(x) and _is_cut(classifier, cut, x, logits):
                return cut
    return None


def _is_cut(classifier: Classifier, cut: str, x: Tensor, logits: Tensor) -> bool:
    """Return whether what goes through a module is enough for the answer."""
    try:
        found = cut_at(classifier, cut, x)(enter(classifier, cut, x))
    except RuntimeError:  # something else has the images' number, which is another here
        return False
    return math.isclose(float((found - logits).abs().max()), 0, abs_tol=TOLERANCE * float(logits.abs().max()))


def _through(classifier: Classifier, cut: str, x: Tensor) -> Tensor:
    """Return what a module makes when the images go through the classifier, which ends there."""
    made: list[Tensor] = []

    def reach(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        made.append(output)
        raise _Reached

    hooks: list[tuple[nn.Module, ForwardHook]] = [(classifier.module.get_submodule(cut), reach)]
    with torch.no_grad(), evaluating(classifier.module), hooked(hooks), suppress(_Reached):
        classifier(x)
    return made[-1]
