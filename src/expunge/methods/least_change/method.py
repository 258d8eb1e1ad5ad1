"""Least change: the weight change that carries the forget set over its boundaries and changes answers least.

The project's own method; docs/least_change.md derives it and says what was tried.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.devices import CPU
from expunge.compute.runtime import Precision, Runtime, computing_in, find_precision
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.layers import Layer
from expunge.methods.least_change.curvature import Whitening, compute_whitening
from expunge.methods.least_change.exact import ConstrainedSolver, Exact
from expunge.methods.least_change.iterate import Iterate, Objective, Problem, compute_answers
from expunge.methods.least_change.margins import are_ordinary
from expunge.methods.least_change.robust import PenalisedSolver, Robust
from expunge.methods.least_change.scope import Scope, find_scope
from expunge.methods.protocol import Aim, Needs
from expunge.methods.tracing import find_layers
from expunge.models.classifier import Classifier
from expunge.models.folding import choose_layout, fold_batchnorm
from expunge.models.tails import cut_at, enter
from expunge.surrogates.draw import SurrogateMix, draw_surrogates, load_own
from expunge.surrogates.spliced import draw_spliced
from expunge.task.earlier import Earlier
from expunge.task.edit import Edit
from expunge.task.expected import measure_expected_cost
from expunge.task.task import Effort, Strength, Task

CURVATURE_SURROGATES = 512
KEPT_OUT = 10
APART = 128
ANSWERED_AT_ONCE = 256
ROUNDED_TOGETHER = 256
"""The batch size where bfloat16 rounds, whatever the runtime's, so that it does not choose the edit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastChange(Settings):
    """minimise 1/2 E|f(x) - f0(x)|^2 over surrogates, subject to gap + margin <= 0 for every row or most of its copies.

    Weights are written theta0 + W z, W the Kronecker-factored whitening of the surrogates' logit metric, so that a
    short z is a small change of the answers. For exact forgetting each step goes down the objective on a batch of
    surrogates, then takes the shortest correction that meets the constraints, linearised at the present weights (a
    quadratic programme with one multiplier for each row). For robust forgetting, fresh copies are pushed over their
    boundaries with a weight that follows how many hold. Only the weights of linear and convolutional layers change;
    BatchNorm stays frozen.
    """

    name: ClassVar[str] = "least-change"
    summary: ClassVar[str] = "the weight change that forgets the rows and changes all other answers least"
    source: ClassVar[str] = "this project, docs/least_change.md"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify", "relabel", "unseen")
    strength: ClassVar[Strength] = Strength.ROBUST
    goes_on: ClassVar[bool] = True

    effort: Effort = setting(
        Effort.STANDARD, "quick, standard or thorough: how many surrogates are made and steps taken where none is said"
    )
    surrogates: SurrogateMix = field(default_factory=SurrogateMix, metadata={"formerly": "probes"})
    exact: Exact = field(default_factory=Exact)
    robust: Robust = field(default_factory=Robust)
    rate: float = setting(0.3, "step size, in units of 1 / measured curvature", above=0, spread=3)
    momentum: float = setting(0.8, "share of the last step that is taken again", at_least=0, at_most=1)
    damping: float = setting(0.01, "added to the curvature, as a share of its mean", above=0, spread=10)
    precision: Precision | None = setting(
        None,
        "numbers that layers compute in for surrogates and copies: float32, bfloat16, or auto, bfloat16 where the "
        "processor has it; not said, auto for robust edits on a CPU, else float32",
    )

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        first = task.classifier if task.earlier is None else task.earlier.first
        reference = first.to(runtime.device).frozen_copy()
        working = task.classifier.to(runtime.device).copy()
        rows = task.forget_set.to(runtime.device).x
        resolved = self._resolve(reference, rows, task.strength, task.earlier)
        own = load_own(reference, task, resolved.surrogates, context)
        drawn = draw_surrogates(reference, task, resolved.surrogates, context)
        kept_out = max(1, len(drawn) // KEPT_OUT)
        images = drawn[kept_out:], own[len(own) // KEPT_OUT :]
        unseen = torch.cat([drawn[:kept_out], own[: len(own) // KEPT_OUT]])
        reference = choose_layout(fold_batchnorm(reference, rows[:2]), rows[:2])
        rounds = resolved.precision is Precision.BFLOAT16 and runtime.device == CPU
        with context.sharing.steady(ROUNDED_TOGETHER if rounds else None):
            problem = resolved._pose(task, context, working, reference, images)
            solver = (
                PenalisedSolver(resolved.robust, problem)
                if task.strength is Strength.ROBUST
                else ConstrainedSolver(resolved.exact, problem)
            )
            limit = solver.steps + solver.closing_steps
            plan = Plan(self.name, to_mapping(resolved), working, solver.take_step, limit, least_steps=solver.steps)
            edit = edit_until_goal(task, plan, context)
        after = choose_layout(cut_at(edit.classifier.to(runtime.device), problem.cut, rows), problem.enter(rows[:2]))
        cost = measure_expected_cost(problem.reference, after, problem.enter(unseen), context.sharing)
        return replace(edit, expected=cost)

    def _resolve(
        self,
        classifier: Classifier,
        rows: Float[Tensor, "k c h w"],
        strength: Strength,
        earlier: Earlier | None = None,
    ) -> "LeastChange":
        """Return these settings with what was left open; what goes on from an edit takes few steps more.

        Args:
            classifier: the first one.
            rows: to forget.
            strength: what bfloat16 rounds off is little beside the chance in a robust edit's copies.
            earlier: what earlier edits left.
        """
        device = classifier.device
        usual = Precision.AUTO if strength is Strength.ROBUST and device == CPU else Precision.FLOAT32
        pixels = rows.shape[2] * rows.shape[3]
        effort = Effort.QUICK if earlier is not None and earlier.begun else self.effort
        kept, again = (0, False) if earlier is None else (earlier.count, earlier.within > 0)
        return replace(
            self,
            precision=find_precision(self.precision or usual, device),
            surrogates=self.surrogates.resolve(classifier, pixels, self.effort),
            exact=self.exact.resolve(len(rows), pixels, effort, among_others=earlier is not None),
            robust=self.robust.resolve(len(rows), pixels, effort, earlier=kept, again=again),
        )

    def _choose_scope(self, classifier: Classifier, task: Task, x: Float[Tensor, "k c h w"]) -> Scope:
        """Return what may change: all layers, or the last ones, and no more than earlier edits say."""
        share = self.robust.depth if task.strength is Strength.ROBUST else self.exact.depth or 1.0
        earlier = task.earlier
        if earlier is None:
            return find_scope(classifier, x, share)
        if earlier.cut is not None or share >= 1:
            return Scope(earlier.cut)
        return replace(find_scope(classifier, x, share), cut=None)

    def _choose_measured(
        self, task: Task, surrogates: Tensor, own: Tensor, enter_cut: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "n d e f"]:
        """Return what the curvature is measured on: surrogates as steps draw them."""
        measured = surrogates[:CURVATURE_SURROGATES]
        if task.strength is Strength.ROBUST and self.robust.spliced:
            spliced = round(self.robust.spliced * CURVATURE_SURROGATES)
            rows, generator = task.forget_set.x.to(surrogates.device), task.generator("joined probes of curvature")
            fresh = enter_cut(draw_spliced(rows, spliced, task.classifier.bounds, generator))
            measured = torch.cat([fresh, measured[: max(1, CURVATURE_SURROGATES - spliced)]])
        if len(own):
            half = CURVATURE_SURROGATES // 2
            measured = torch.cat([enter_cut(own[:half]), measured[:half]])
        return measured

    def _pose(
        self, task: Task, context: Context, working: Classifier, reference: Classifier, images: tuple[Tensor, Tensor]
    ) -> Problem:
        """Return the problem that changes `working`: its layers, their metric, the answers that should stay.

        Args:
            task: rows, goal and randomness.
            context: counts gradient evaluations.
            working: what is changed.
            reference: the classifier before the edit.
            images: surrogates that were made, and the user's own.
        """
        surrogates, own = images
        rows = task.forget_set.x.to(surrogates.device)
        scope = self._choose_scope(working, task, rows)
        precision = self.precision or Precision.FLOAT32

        def enter_cut(x: Tensor) -> Tensor:
            with computing_in(precision, reference.device):
                return enter(reference, scope.cut, x, context.sharing).to(x.dtype)

        pair = enter_cut(rows[:2])
        before = choose_layout(cut_at(reference, scope.cut, rows), pair)
        surrogates, answers = _answer(before, surrogates, enter_cut if scope.cut else None, precision, context)
        changing = cut_at(working, scope.cut, rows)
        layers = scope.choose(find_layers(changing, pair))
        fast = choose_layout(fold_batchnorm(changing, pair, sharing=[layer.module for layer in layers]), pair)
        measured = self._choose_measured(task, surrogates, own, enter_cut)
        whitening = self._whiten(fast, layers, measured, task, context)
        objective = Objective(fast, layers, whitening, context, precision)
        follows = task.strength is Strength.ROBUST and are_ordinary(self.robust.leads, task)
        cut_off = min(APART, len(surrogates) // 2) if follows else 0
        return Problem(
            task=task,
            context=context,
            reference=before,
            objective=objective,
            iterate=Iterate(objective, self.momentum),
            surrogates=surrogates[cut_off:],
            logits=answers[cut_off:],
            own=own,
            apart=(surrogates[:cut_off], answers[:cut_off]),
            rate=self.rate,
            memory_gigabytes=self._memory(context),
            cut=scope.cut,
            enter=enter_cut,
        )

    def _whiten(
        self,
        classifier: Classifier,
        layers: Sequence[Layer],
        measured: Float[Tensor, "n d e f"],
        task: Task,
        context: Context,
    ) -> Whitening:
        """Return the metric in which steps are taken: the curvature of the layers on `measured`."""
        return compute_whitening(
            classifier,
            layers,
            measured,
            damping=self.damping,
            generator=task.generator("curvature"),
            context=context,
            memory_gigabytes=self._memory(context),
        )

    def _memory(self, context: Context) -> float:
        """Return the gigabytes for factors and for row gradients."""
        return min(self.exact.memory_gigabytes, context.runtime.memory_gigabytes or math.inf)


def _answer(
    before: Classifier,
    x: Float[Tensor, "n c h w"],
    enter_cut: Callable[[Tensor], Tensor] | None,
    precision: Precision,
    context: Context,
) -> tuple[Float[Tensor, "n d e f"], Float[Tensor, "n k"]]:
    """Return what goes through the cut for each image, and what the classifier answers to it before the edit."""
    entered, answers = list[Tensor](), list[Tensor]()
    with context.phase("answers", total=len(x)) as advance:
        for part in x.split(ANSWERED_AT_ONCE * context.sharing.processes.count):
            entered.append(part if enter_cut is None else enter_cut(part))
            answers.append(compute_answers(before, entered[-1], precision, context))
            advance(len(part))
    return x if enter_cut is None else torch.cat(entered), torch.cat(answers)
