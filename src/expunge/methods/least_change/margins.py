"""By how much each row is to be over its boundary, so that nobody can tell the forgotten rows by it.

Where all rows end at one margin, whoever has the edited classifier finds them by it. With ordinary leads they end as
images do that the classifier has never seen: certain by as much, whatever they are certain of.
"""

from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.methods.least_change.blends import answer_blends
from expunge.methods.least_change.iterate import Problem
from expunge.methods.least_change.jacobian import Step
from expunge.task.evaluation import compute_logits
from expunge.task.task import Task
from expunge.task.unseen import deal_out, leads_of

ROWS = 16
"""In a step of a robust edit."""
FOLLOW_EVERY = 4
FADING = 2.0
"""Leads of photographs fall by about the square of what those of surrogates do that have no part in the edit."""


class Leads(StrEnum):
    """How far the answer of an edited row leads the next: by the least margin, or as that of an unseen image does."""

    LEAST = "least"
    ORDINARY = "ordinary"


class Margins:
    """How far each row is from its boundary, and is to be beyond it, in logits.

    Rows that are to end with ordinary leads are pushed away from whichever class is next, once their own label is
    behind.
    """

    def __init__(self, problem: Problem, least: float, leads: Leads) -> None:
        self._goal, self._ordinary = problem.task.goal, are_ordinary(leads, problem.task)
        self.values = problem.find_margins(least)
        if self._ordinary:
            self.values = torch.maximum(self.values, choose_leads(problem))

    def gap(self, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return by how much images are short of their boundaries; below 0, by how much they are beyond.

        Args:
            logits: of any images.
            labels: that the goal speaks of.
        """
        gap = self._goal.gap(logits, labels)
        return torch.where(gap < 0, -leads_of(logits), gap) if self._ordinary else gap


class OrdinaryRows:
    """Rows that are over their boundaries are pulled to the leads of images that the classifier has never seen.

    Where an edit makes all answers less certain, these are to be so, too.
    """

    def __init__(self, problem: Problem, temperature: float) -> None:
        self._problem, self._temperature = problem, temperature
        device = problem.surrogates.device
        self._x, self._labels = problem.enter(problem.task.forget_set.x.to(device)), problem.task.labels.to(device)
        self._leads, self._left, self._count = choose_leads(problem), 1.0, 0
        self._generator = problem.task.generator("ordinary rows")

    def pull(self) -> tuple[float, Step]:
        """Return how far the leads of some rows are from what they are to be, in logits, and the gradient of that."""
        if self._count % FOLLOW_EVERY == 0:
            self._follow()
        self._count += 1
        chosen = torch.randint(len(self._x), (ROWS,), generator=self._generator).to(self._labels.device)
        x, labels, wanted = self._x[chosen], self._labels[chosen], self._left * self._leads[chosen]

        def loss(logits: Tensor, part: slice) -> Tensor:
            over = self._problem.task.goal.gap(logits, labels[part]) < 0
            away = F.smooth_l1_loss(leads_of(logits), wanted[part], reduction="none", beta=self._temperature)
            return (away * over).sum() / ROWS

        return self._problem.objective.pull(x, loss)

    def _follow(self) -> None:
        """Find out what is left of the leads of surrogates that no step sees."""
        problem = self._problem
        x, before = problem.apart
        now = compute_logits(problem.objective.classifier, x, problem.context.sharing)
        self._left = float(leads_of(now).mean() / leads_of(before).mean().clamp_min(1e-12)) ** FADING


def are_ordinary(leads: Leads, task: Task) -> bool:
    """Return whether rows are to end with leads of their own, which the goal unseen gives them already."""
    return leads is Leads.ORDINARY and task.allowed is None


def choose_leads(problem: Problem) -> Float[Tensor, " k"]:
    """Return for each row a lead, in logits, as images have that were never seen; what led most leads most.

    Those of blends, by the classifier before this edit and all earlier ones.
    """
    task, rows = problem.task, problem.task.forget_set.x.to(problem.surrogates.device)
    first = task.classifier if task.earlier is None else task.earlier.first
    before = leads_of(compute_logits(problem.reference, problem.enter(rows), problem.context.sharing))
    blends = leads_of(answer_blends(first, rows, task.seed, problem.context.runtime))
    return blends[deal_out(blends, before)]
