"""One step of gradient descent, with no more images at once than memory allows."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expunge.base.errors import ExpungeWarning
from expunge.compute.processes import ALONE, Processes
from expunge.compute.sharing import Sharing

BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Terms = Mapping[str, Tensor]
"""The terms of a loss by name, weighted, as scalars with gradients."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Images that a step sends through the network together, so that in training mode they share their statistics.

    Args:
        images: how many.
        terms: images from..to -> what they add to each term; what all parts add is the whole.
    """

    images: int
    terms: Callable[[slice], Terms]


def take_step(
    optimiser: torch.optim.Optimizer,
    module: nn.Module,
    passes: Sequence[Pass],
    sharing: Sharing,
    among: Processes = ALONE,
    others: Callable[[], Terms] | None = None,
) -> dict[str, float]:
    """Take one step of `optimiser` down the sum of all terms, and return the value of each.

    Images go through in parts of the batch size, which is halved where memory runs out. With frozen BatchNorm the parts
    add up to the whole. In training mode each part is normalised by its own statistics.

    Args:
        optimiser: holds the weights.
        module: its running statistics are put back where a part fails.
        passes: what goes through the network, one after another.
        sharing: holds the batch size.
        among: the processes that divide the images; only where BatchNorm is frozen and terms draw nothing at random.
        others: called after all passes; terms that no image has a part in.
    """
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    total = _Total(weights)
    for each in passes:
        total.add(*differentiate_pass(each, weights, module, sharing, among))
    terms = {} if others is None else others()
    if terms:
        values = {name: term.detach() for name, term in terms.items()}
        total.add(values, _differentiate(terms.values(), weights))
    for weight, gradient in zip(weights, total.gradients, strict=True):
        weight.grad = gradient
    optimiser.step()
    return total.read_values()


def differentiate_pass(
    one: Pass, weights: Sequence[Tensor], module: nn.Module, sharing: Sharing, among: Processes = ALONE
) -> tuple[Terms, list[Tensor | None]]:
    """Return the values of a pass's terms, and the gradient of their sum by each weight; None where none has a part.

    See `take_step` for what becomes of parts. A device is waited for only where several processes divide the images.

    Warns:
        ExpungeWarning: images that are normalised by their batch go through in parts.
    """
    names, used_here = list[str](), [False] * len(weights)

    def differentiate(part: slice) -> list[Tensor]:
        if part.stop - part.start < one.images and among.count == 1:
            _warn_of_parts(one.images, sharing.batch_size, module)
        with statistics_kept_on_failure(module):
            terms = one.terms(part)
            gradients = _differentiate(terms.values(), weights)
        names[:] = terms
        used_here[:] = [old or new is not None for old, new in zip(used_here, gradients, strict=True)]
        filled = (
            torch.zeros_like(weight) if gradient is None else gradient
            for weight, gradient in zip(weights, gradients, strict=True)
        )
        return [torch.stack([term.detach() for term in terms.values()]), *filled]

    values, *gradients = sharing.map_sum(one.images, differentiate, among=among)
    used = _used_anywhere(used_here, values.device, among)
    found = [gradient if is_used else None for gradient, is_used in zip(gradients, used, strict=True)]
    return dict(zip(names, values.unbind(), strict=True)), found


def _warn_of_parts(images: int, at_once: int, module: nn.Module) -> None:
    """Say that the result is not that of the method as it is described, if BatchNorm sees a part of a batch only."""
    if any(isinstance(part, BATCHNORMS) and part.training for part in module.modules()):
        told = f"{images} images go through {at_once} at a time, and BatchNorm takes the statistics of each part"
        warnings.warn(f"{told}: with a batch size of {images} the result is another one", ExpungeWarning, stacklevel=2)


def _used_anywhere(used_here: list[bool], device: torch.device, among: Processes) -> list[bool]:
    """Return for each weight whether a term of any process depends on it."""
    if among.count == 1:
        return used_here
    flags = torch.tensor(used_here, dtype=torch.float32, device=device)
    among.sum([flags])
    return flags.bool().tolist()


class _Total:
    """What the passes of a step add up to; a weight that no term depends on has no gradient, so it stays as it is."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._values = dict[str, Tensor]()
        self.gradients: list[Tensor | None] = [None] * len(weights)

    def add(self, values: Terms, gradients: Sequence[Tensor | None]) -> None:
        for name, value in values.items():
            self._values[name] = self._values[name] + value if name in self._values else value
        for number, gradient in enumerate(gradients):
            if gradient is not None:
                so_far = self.gradients[number]
                self.gradients[number] = gradient if so_far is None else so_far + gradient

    def read_values(self) -> dict[str, float]:
        """Return each term; a device is waited for once."""
        if not self._values:
            return {}
        return dict(zip(self._values, torch.stack(list(self._values.values())).tolist(), strict=True))


def _differentiate(terms: Iterable[Tensor], weights: Sequence[Tensor]) -> Sequence[Tensor | None]:
    total = torch.stack(list(terms)).sum()
    if not total.requires_grad:
        return [None] * len(weights)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(total, list(weights), allow_unused=True)
    return gradients


@contextmanager
def statistics_kept_on_failure(module: nn.Module) -> Iterator[None]:
    """Put the running statistics back if the block fails: it is tried again with fewer images."""
    before = [buffer.clone() for buffer in module.buffers()]
    try:
        yield
    except (RuntimeError, MemoryError):
        for buffer, old in zip(module.buffers(), before, strict=True):
            buffer.copy_(old)
        raise
