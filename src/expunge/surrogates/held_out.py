"""Surrogates that have no part in any edit, on which its cost on other images is estimated."""

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.surrogates.mixes import draw_mixes
from expunge.surrogates.procedural import draw_leaves
from expunge.task.task import Task

COUNT = 256


def draw_held_out(task: Task) -> Float[Tensor, "256 c h w"]:
    """Return `COUNT` surrogates, half of them dead leaves and half mixes of forget rows and leaves; the same each time.

    They are drawn with generators of their own, so no edit of the task was fitted to any of them.
    """
    rows, bounds = task.forget_set.x, task.classifier.bounds
    shape = (rows.shape[1], rows.shape[2], rows.shape[3])
    leaves = draw_leaves(COUNT // 2, shape, bounds, task.generator("unseen leaves")).to(rows)
    varied = torch.cat([rows, leaves[: len(rows)]])
    return torch.cat([leaves, draw_mixes(varied, COUNT - len(leaves), bounds, task.generator("unseen mixes"))])
