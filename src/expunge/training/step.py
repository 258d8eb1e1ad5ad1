"""One step of gradient descent, with no more images at once than memory allows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expunge.compute.processes import ALONE, Processes
from expunge.compute.sharing import Sharing

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
    others: Terms | None = None,
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
        others: terms that no image has a part in.
    """
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    total = _Total(weights)
    for each in passes:
        names: list[str] = []

        def differentiate(part: slice, each: Pass = each, names: list[str] = names) -> list[Tensor]:
            with _statistics_kept_on_failure(module):
                terms = each.terms(part)
                gradients = _differentiate(terms.values(), weights)
            names[:] = terms
            values = torch.stack([term.detach() for term in terms.values()])
            used = torch.tensor([float(gradient is not None) for gradient in gradients], device=values.device)
            filled = (
                torch.zeros_like(weight) if gradient is None else gradient
                for weight, gradient in zip(weights, gradients, strict=True)
            )
            return [values, used, *filled]

        values, used, *gradients = sharing.map_sum(each.images, differentiate, among=among)
        total.add(dict(zip(names, values.tolist(), strict=True)), gradients, used.tolist())
    if others:
        found = _differentiate(others.values(), weights)
        total.add({name: term.item() for name, term in others.items()}, found, [each is not None for each in found])
    for weight, gradient in zip(weights, total.gradients, strict=True):
        weight.grad = gradient
    optimiser.step()
    return total.values


class _Total:
    """What the passes of a step add up to; a weight that no term depends on has no gradient, so it stays as it is."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.values = dict[str, float]()
        self.gradients: list[Tensor | None] = [None] * len(weights)

    def add(self, values: Mapping[str, float], gradients: Sequence[Tensor | None], used: Sequence[float]) -> None:
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + value
        for number, (gradient, is_used) in enumerate(zip(gradients, used, strict=True)):
            if is_used and gradient is not None:
                so_far = self.gradients[number]
                self.gradients[number] = gradient if so_far is None else so_far + gradient


def _differentiate(terms: Iterable[Tensor], weights: list[Tensor]) -> Sequence[Tensor | None]:
    total = torch.stack(list(terms)).sum()
    if not total.requires_grad:
        return [None] * len(weights)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(total, weights, allow_unused=True)
    return gradients


@contextmanager
def _statistics_kept_on_failure(module: nn.Module) -> Iterator[None]:
    """Put the running statistics back if the block fails: it is tried again with fewer images."""
    before = [buffer.clone() for buffer in module.buffers()]
    try:
        yield
    except (RuntimeError, MemoryError):
        for buffer, old in zip(module.buffers(), before, strict=True):
            buffer.copy_(old)
        raise
