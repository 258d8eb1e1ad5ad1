"""Gives a method the draws that the authors' code had, in place of its generator's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from expunge.training import Augmentation, Training


def replay_batches(passes: Sequence[Sequence[Sequence[int]]]) -> Callable[..., Iterator[Tensor]]:
    """Return what stands for `draw_batches`: the batches of one pass after the other."""
    left = iter(passes)

    def draw_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        batches = next(left)
        assert sorted(row for batch in batches for row in batch) == list(range(count))
        assert max(len(batch) for batch in batches) <= batch_size
        return iter([torch.tensor(batch) for batch in batches])

    return draw_batches


def as_in(golden: dict[str, Any], training: Training) -> Training:
    """Return a method's own training with the golden file's epochs, batch size and rate, without augmentation."""
    settings = golden["settings"]
    return replace(
        training,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        augmentation=Augmentation.NONE,
    )
