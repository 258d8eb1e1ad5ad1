"""The loop over images: draw a batch, step down its losses; all that it needs to go on later in a few tensors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.compute.context import Context
from expunge.compute.processes import ALONE
from expunge.data.images import Images, load_ahead
from expunge.models.classifier import Classifier
from expunge.models.copying import put_weights
from expunge.models.modes import BatchNormMode, editing
from expunge.training.augmentation import augment
from expunge.training.recipe import Training, make_optimiser, set_rate
from expunge.training.step import Pass, Terms, take_step

WEIGHTS, OPTIMISER, GENERATOR = "weights.", "optimiser.", "generator."


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one step on the trainer's device: their pixels, labels, row numbers, and the epoch, counted from 0."""

    x: Float[Tensor, "b c h w"]
    y: Int[Tensor, " b"]
    rows: Int[Tensor, " b"]
    epoch: int


BatchLosses = Callable[[Batch], Terms]
"""The terms of the total loss on a part of a batch by name: means over its images, weighted; nothing drawn at random.
"""

Draw = Callable[[Batch], Sequence[Pass]]
"""The passes of one step, drawn for its batch; what they draw at random is drawn here, once for all parts."""


def do_nothing() -> None:
    """Do nothing after a step."""


class Trainer:
    """Trains a classifier, pass by pass; its optimiser holds that classifier's weights and nothing else.

    Args:
        working: what is trained, on the context's device.
        training: the settings.
        context: counts what it costs.
        seeded: makes a generator on the CPU from the name of what it draws.
    """

    def __init__(
        self,
        working: Classifier,
        training: Training,
        context: Context,
        seeded: Callable[[str], torch.Generator],
    ) -> None:
        self.working, self.training, self.context = working, training, context
        self._optimiser = make_optimiser(working, training)
        self._seeded, self._generators = seeded, dict[str, torch.Generator]()
        self._order, self._moves = self.generator("training order"), self.generator("augmentation")

    def generator(self, name: str) -> torch.Generator:
        """Return the generator that draws what `name` says; how far it has come is part of the trainer's state."""
        return self._generators.setdefault(name, self._seeded(name))

    def count_steps(self, images: Images) -> int:
        """Return how many steps a pass over `images` takes."""
        return ceil(len(images.labels) / self.training.batch_size)

    def run_pass(
        self,
        images: Images,
        losses: BatchLosses,
        *,
        epoch: int,
        after_step: Callable[[], None] = do_nothing,
        as_they_are: Bool[Tensor, " n"] | None = None,
        batch_size: int | None = None,
    ) -> dict[str, float]:
        """Go through `images` once, in a new random order, and return the mean of each loss over the batches.

        Args:
            images: what to train on.
            losses: of one batch; called in the training's mode of BatchNorm.
            epoch: counted from 0; the schedule follows it.
            after_step: called after each step of the optimiser.
            as_they_are: which images no augmentation touches; None: none of them.
            batch_size: images in a step; None for the training's.
        """
        return self._run(
            images,
            lambda batch: [self._to_pass(batch, losses)],
            epoch=epoch,
            after_step=after_step,
            as_they_are=as_they_are,
            batch_size=batch_size,
        )

    def run_steps(self, images: Images, draw: Draw, *, epoch: int) -> dict[str, float]:
        """Go through `images` once as `run_pass` does, with passes that are drawn for each batch by `draw`."""
        return self._run(images, draw, epoch=epoch)

    def make_pass(self, images: int, terms: Callable[[slice], Terms]) -> Pass:
        """Return a pass of so many images whose terms are computed in the training's mode of BatchNorm.

        Args:
            images: how many.
            terms: as of a `Pass`.
        """

        def in_mode(part: slice) -> Terms:
            size = part.stop - part.start
            self.context.add_gradients(size)
            mode = self.training.batchnorm if size > 1 else BatchNormMode.FROZEN  # one has no statistics
            with editing(self.working.module, mode):
                return terms(part)

        return Pass(images, in_mode)

    def _run(
        self,
        images: Images,
        draw: Draw,
        *,
        epoch: int,
        after_step: Callable[[], None] = do_nothing,
        as_they_are: Bool[Tensor, " n"] | None = None,
        batch_size: int | None = None,
    ) -> dict[str, float]:
        labels, totals = images.labels, dict[str, float]()
        among = ALONE if self.training.batchnorm is BatchNormMode.BATCH else self.context.sharing.processes
        batches = list(draw_batches(len(labels), batch_size or self.training.batch_size, self._order))
        loaded = load_ahead(images, [rows.tolist() for rows in batches])
        for number, (rows, pixels) in enumerate(zip(batches, loaded, strict=True)):
            set_rate(self._optimiser, self.training, (epoch + number / len(batches)) / self.training.epochs)
            x = self._present(pixels, None if as_they_are is None else as_they_are[rows])
            passes = draw(Batch(x, labels[rows].to(x.device), rows.to(x.device), epoch))
            values = take_step(self._optimiser, self.working.module, passes, self.context.sharing, among)
            after_step()
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + value / len(batches)
        return totals

    def _to_pass(self, batch: Batch, losses: BatchLosses) -> Pass:
        """Return the batch as a pass; each part has a share in the losses, which are means over its images."""

        def terms(part: slice) -> Terms:
            chosen = Batch(batch.x[part], batch.y[part], batch.rows[part], batch.epoch)
            share = len(chosen.x) / len(batch.x)
            return {name: share * term for name, term in losses(chosen).items()}

        return self.make_pass(len(batch.x), terms)

    def _present(self, pixels: Tensor, as_they_are: Tensor | None) -> Tensor:
        """Return images on the trainer's device, augmented but for those that stay as they are."""
        x = pixels.to(self.context.runtime.device)
        moved = augment(x, self.training.augmentation, self.working.bounds, self._moves)
        return moved if as_they_are is None else torch.where(as_they_are.to(x.device).view(-1, 1, 1, 1), x, moved)

    def state(self) -> dict[str, Tensor]:
        """Return weights, the optimiser's memory and the generators' states by name, for `restore`."""
        tensors = {WEIGHTS + name: tensor for name, tensor in self.working.network.state_dict().items()}
        for number, memory in self._optimiser.state_dict()["state"].items():
            named = {f"{OPTIMISER}{number}.{name}": each for name, each in memory.items() if isinstance(each, Tensor)}
            tensors.update(named)
        return tensors | {GENERATOR + name: each.get_state() for name, each in self._generators.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to a state that `state` returned; the passes that follow are the same, bit for bit."""
        put_weights(self.working.network, _below(WEIGHTS, tensors))
        memory = dict[int, dict[str, Any]]()
        for name, tensor in _below(OPTIMISER, tensors).items():
            number, _, what = name.partition(".")
            memory.setdefault(int(number), {})[what] = tensor
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": memory})
        for name, state in _below(GENERATOR, tensors).items():
            self._generators[name].set_state(state)


def draw_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield all row numbers once in random order, in batches of almost equal size: no last batch of a single row.

    >>> [len(rows) for rows in draw_batches(9, 4, torch.Generator().manual_seed(0))]
    [3, 3, 3]
    """
    yield from torch.randperm(count, generator=generator).tensor_split(ceil(count / batch_size))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
