"""Surrogates that no method has seen, on which any edit's cost on other images is estimated."""

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.surrogates.mixes import draw_mixes
from expunge.surrogates.procedural import draw_leaves
from expunge.task.task import Task

UNSEEN = 256


def draw_unseen(task: Task, count: int = UNSEEN) -> Float[Tensor, "n c h w"]:
    """Return `count` surrogates, half of them dead leaves and half mixes of forget rows and leaves; the same each time.

    They are drawn with generators of their own, so no edit of the task was fitted to any of them.
    """
    rows, bounds = task.forget_set.x, task.classifier.bounds
    shape = (rows.shape[1], rows.shape[2], rows.shape[3])
    leaves = draw_leaves(count // 2, shape, bounds, task.generator("unseen leaves")).to(rows)
    varied = torch.cat([rows, leaves[: len(rows)]])
    return torch.cat([leaves, draw_mixes(varied, count - len(leaves), bounds, task.generator("unseen mixes"))])
