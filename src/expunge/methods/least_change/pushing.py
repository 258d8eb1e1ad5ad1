"""Copies that are to be over their boundaries: their loss, and its weight, which follows how many of them are."""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.methods.least_change.iterate import Problem, norm
from expunge.methods.least_change.jacobian import Step
from expunge.task.earlier import Earlier
from expunge.task.evaluation import compute_logits
from expunge.task.goals import achieved
from expunge.task.transforms import draw_copies

FADE = 0.8
LARGEST_MISS = 0.1
PLAIN_SHARE = 1 / 8
NEW_EVERY = 4
"""In an edit that goes on, each fourth copy in a step is of a new row; the others are of any row."""
EARLIER_SHARE = 0.96
"""Of the copies of earlier rows, or of all where those are among them, that are to hold; the stop rule asks for 95%."""


def push_copies(
    problem: Problem,
    x: Float[Tensor, "m c h w"],
    labels: Int[Tensor, " m"],
    margins: Float[Tensor, " m"],
    temperature: float,
) -> tuple[float, Float[Tensor, " m"], Step]:
    """Return the mean of softplus(gap + margin) over copies, their gaps, and the gradient of the mean.

    Args:
        problem: goal and objective.
        x: copies, as the objective's classifier takes them.
        labels: that the goal speaks of.
        margins: in logits.
        temperature: logits over which a copy's loss fades out.
    """
    gaps = torch.zeros(len(x), device=x.device)

    def loss(logits: Tensor, part: slice) -> Tensor:
        gap = problem.task.goal.gap(logits, labels[part])
        gaps[part] = gap.detach()
        return temperature * F.softplus((gap + margins[part]) / temperature).sum() / len(x)

    value, gradient = problem.objective.pull(x, loss)
    [gaps] = problem.context.sharing.map_concat(len(x), lambda part: [gaps[part]])
    return value, gaps, gradient


def find_balance(gradient: Step, pushes: Iterable[Step]) -> float:
    """Return the weight at which pushes have brought an edit to rest where it is: gradient + weight * push is shortest.

    The push is the mean of some that are noisy. Its square is that of two different ones, since the square of a single
    one would be that of its noise, too.

    Args:
        gradient: of what the edit changes elsewhere.
        pushes: at least two, each of copies of its own.
    """
    total, squares, count = [torch.zeros_like(part) for part in gradient], 0.0, 0
    for push in pushes:
        total = [old + part for old, part in zip(total, push, strict=True)]
        squares += norm(push) ** 2
        count += 1
    along = -sum(float((one * other).sum()) for one, other in zip(gradient, total, strict=True)) / count
    square = (norm(total) ** 2 - squares) / (count * (count - 1))
    return max(0.0, along / square) if square > 0 else 0.0


def steer(gain: float, missing: float) -> float:
    """Return by what a weight grows, or shrinks, where a share of copies is missing, or to spare."""
    return math.exp(gain * max(-LARGEST_MISS, min(LARGEST_MISS, missing)))


class RowCopies:
    """Copies of the rows to forget, drawn anew for each step, beside some of the rows as they are."""

    def __init__(self, problem: Problem, rows: Float[Tensor, "k c h w"], labels: Int[Tensor, " k"], count: int) -> None:
        self._problem, self._task, self._rows, self._labels = problem, problem.task, rows, labels
        self._entered = problem.enter(rows)
        self._count, self._plain = count, max(1, round(PLAIN_SHARE * count))
        self._generator = problem.task.generator("constraint copies")
        self._within = 0 if problem.task.earlier is None else problem.task.earlier.within

    @property
    def share_of_earlier(self) -> float:
        """Return the share of a step's copies that are of rows that earlier edits forgot; 0 where there are none."""
        return (1 - 1 / NEW_EVERY) * self._within / len(self._rows)

    def draw(self, *, hardest: bool) -> tuple[Float[Tensor, "m d e f"], Int[Tensor, " m"], Int[Tensor, " j"]]:
        """Return rows and copies, of which rows they are, and which are copies of any row, new or not.

        Args:
            hardest: whether the rows that are shown as they are are those nearest to coming back.
        """
        plain, within = self._plain, self._within
        drawn = self._choose(len(self._rows), plain + self._count)
        judged = torch.arange(plain, len(drawn), device=drawn.device)
        if within:
            judged = judged[judged % NEW_EVERY != 0]
            drawn[::NEW_EVERY] = within + drawn[::NEW_EVERY] % (len(self._rows) - within)
        if hardest:
            problem = self._problem
            logits = compute_logits(problem.objective.classifier, self._entered, problem.context.sharing)
            gaps = self._task.goal.gap(logits, self._labels)
            if self._task.allowed is not None:
                gaps = gaps - self._task.allowed.to(gaps.device)
            drawn[:plain] = gaps.argsort(descending=True, stable=True)[torch.arange(plain) % len(gaps)]
        copies = self._problem.enter(self._transform(drawn[plain:]))
        return torch.cat([self._entered[drawn[:plain]], copies]), drawn, judged

    def draw_earlier(self) -> tuple[Float[Tensor, "m d e f"], Int[Tensor, " m"]]:
        """Return copies of rows that earlier edits forgot, and of which rows they are."""
        drawn = self._choose(self._within, self._count)
        return self._problem.enter(self._transform(drawn)), drawn

    def _choose(self, of: int, count: int) -> Int[Tensor, " m"]:
        return torch.randint(of, (count,), generator=self._generator).to(self._labels.device)

    def _transform(self, chosen: Int[Tensor, " m"]) -> Float[Tensor, "m c h w"]:
        return draw_copies(self._rows[chosen], self._task.classifier.bounds, self._generator, self._task.transforms)


class EarlierCopies:
    """Copies of earlier rows push like those of the new ones, with a weight of their own."""

    def __init__(self, problem: Problem, *, count: int, margin: float, temperature: float, gain: float) -> None:
        self._problem, self._count = problem, count
        self._margin, self._temperature, self._gain = margin, temperature, gain
        self._generator = problem.task.generator("copies of earlier rows")
        self.wanted = EARLIER_SHARE
        self._weight, self._held = 0.0, 0.0

    def hold(self) -> bool:
        """Return whether earlier rows hold as the stop rule asks, at the weights as they are."""
        problem, earlier = self._problem, self._problem.task.earlier
        if earlier is None:
            return True
        return earlier.holds(problem.objective.classifier, problem.task.goal, problem.context.sharing, robust=True)

    def add_to(self, gradient: Step, weight: float, *, steering: bool) -> Step:
        """Return the gradient of a loss, with that of the earlier rows' copies added.

        Args:
            gradient: of the loss without them.
            weight: of a single new row: what an earlier one begins with.
            steering: whether the weight follows how many copies hold.
        """
        earlier = self._problem.task.earlier
        if earlier is None or earlier.rows is None:
            return gradient
        x, labels = self._draw(earlier)
        margins = torch.full((len(x),), self._margin, device=x.device)
        _, gaps, push = push_copies(self._problem, x, labels, margins, self._temperature)
        held = float((gaps < 0).float().mean()) if earlier.copies is None else self._measure_checked(earlier)
        self._held = FADE * self._held + (1 - FADE) * held if self._weight else held
        self._weight = self._weight or weight * len(earlier.rows)
        if steering:
            self._weight *= steer(self._gain, self.wanted - self._held)
        return [old + self._weight * part for old, part in zip(gradient, push, strict=True)]

    def _draw(self, earlier: Earlier) -> tuple[Tensor, Tensor]:
        assert earlier.rows is not None  # noqa: S101 - asked for rows
        device, plain = self._problem.surrogates.device, max(1, round(PLAIN_SHARE * self._count))
        task = self._problem.task
        chosen = torch.randint(len(earlier.rows), (self._count,), generator=self._generator)
        copies = earlier.draw_copies(chosen[plain:], self._generator, transforms=task.transforms)
        x = torch.cat([earlier.rows.x[chosen[:plain]], copies]).to(device)
        return x, earlier.labels(task.goal)[chosen].to(device)

    def _measure_checked(self, earlier: Earlier) -> float:
        """Return the share that holds of some copies that are not learnt: the learnt ones soon all do."""
        assert earlier.rows is not None  # noqa: S101 - asked for rows
        chosen = torch.randint(len(earlier.rows), (self._count,), generator=self._generator)
        copies = earlier.draw_copies(chosen, self._generator, checked=True)
        problem, labels = self._problem, earlier.labels(self._problem.task.goal)[chosen]
        logits = compute_logits(problem.objective.classifier, copies, problem.context.sharing)
        return float(achieved(problem.task.goal, logits, labels.to(logits.device)).float().mean())
