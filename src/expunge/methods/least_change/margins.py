"""By how much each row is to be over its boundary, so that nobody can tell the forgotten rows by it."""

from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor


class Leads(StrEnum):
    """How far the answer of an edited row leads the next: by the least margin, or as an ordinary row's does."""

    LEAST = "least"
    ORDINARY = "ordinary"


def choose_margins(
    logits: Float[Tensor, "k classes"], gaps: Float[Tensor, " k"], least: float, leads: Leads
) -> Float[Tensor, " k"]:
    """Return the margin of each row, in logits, `least` or more.

    Where all rows end at one margin, whoever has the edited classifier finds them by it. `ORDINARY` deals out again
    the leads that the rows' answers had before the edit: the row with the largest gap gets the smallest, which is the
    deal that moves all logits least.

    Args:
        logits: of the rows before the edit.
        gaps: how far each is from its boundary before the edit.
        least: the smallest margin.
        leads: how margins are chosen.

    >>> logits = torch.tensor([[5.0, 1.0], [3.0, 0.0], [9.0, 8.0]])
    >>> choose_margins(logits, torch.tensor([4.0, 3.0, 1.0]), 0.3, Leads.ORDINARY)
    tensor([1., 3., 4.])
    """
    if leads is Leads.LEAST:
        return torch.full_like(gaps, least)
    first, second = logits.topk(2, dim=1).values.unbind(dim=1)
    margins = torch.empty_like(gaps)
    margins[gaps.argsort(descending=True, stable=True)] = (first - second).sort().values
    return margins.clamp_min(least)
