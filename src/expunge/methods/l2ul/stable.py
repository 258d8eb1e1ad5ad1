"""L2UL: unlearn the forget set while adversarial examples and weight importance hold everything else in place.

Cha, Cho, Hwang, Lee, Moon, Lee, "Learning to Unlearn: Instance-wise Unlearning for Pre-trained Classifiers",
AAAI 2024, arXiv 2301.11578.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, repeat
from operator import mul
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.runtime import Precision, Runtime
from expunge.methods.descent import Descent, Objective, endless_batches, present_rows
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.l2ul.importance import compute_importance, hold_weights, scale_to_unit
from expunge.methods.protocol import Aim, Needs
from expunge.models.classifier import Classifier
from expunge.surrogates.adversarial import AdversarialPool, make_adversarial_pool
from expunge.surrogates.attack import Attack
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training.recipe import Algorithm
from expunge.training.step import Pass, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class L2UL(Settings):
    """L = (w n_f L_UL + n_a L_ADV + (n_f + n_a) lambda L_IMP) / (w n_f + n_a), until every row holds the goal.

    w is 1 in the paper; here it grows by `growth` a step, so that rows that the regularisers hold back get through in
    the end: both fade. These defaults are the stable variant, chosen by measurement; `L2ULFaithful` has the authors'.

    Differs from the paper: BatchNorm is frozen, rows that have crossed are no longer pushed, adversarial examples
    are held to the classifier's own logits instead of a hard label, the attack starts uniformly in a smaller ball,
    takes longer steps and ends where the target leads, targets never equal the label, importance is the mean of
    per-row gradients and weighs a tenth, Adam takes the steps, which grow to their full size over the first 40, there
    is no weight decay, and half as many adversarial examples go into a step.
    """

    name: ClassVar[str] = "l2ul"
    revision: ClassVar[int] = 3
    summary: ClassVar[str] = "adversarial examples (ADV) and weight importance (IMP) as regularisers, stable variant"
    source: ClassVar[str] = "Cha et al., AAAI 2024, arXiv 2301.11578"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify", "relabel")
    strength: ClassVar[Strength] = Strength.EXACT

    attack: Attack = field(
        default_factory=lambda: Attack(radius=1.0, step_size=0.25, steps=20, enough=1.0, precision=Precision.AUTO)
    )
    adversarial_batch: int = setting(128, "adversarial examples in a step (n_a)", at_least=1)
    importance_weight: float = setting(0.1, "weight of L_IMP (lambda); 0 leaves IMP out", at_least=0, spread=100)
    margin: float = setting(0.5, "logits by which the hinge wants a row over its boundary", at_least=0, spread=4)
    growth: float = setting(1.01, "factor by which the weight of the unlearning loss grows each step", at_least=1)
    descent: Descent = field(default_factory=lambda: Descent(algorithm=Algorithm.ADAM, learning_rate=5e-4, warmup=40))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        original = task.classifier.to(runtime.device)
        reference, working = original.frozen_copy(), original.copy()
        pool = make_adversarial_pool(reference, task, self.attack, context)
        stay = self._make_penalty(task, working, context)
        objectives = self._make_objectives(task, working, pool, stay, context)
        step = self.descent.make_step(working, objectives, context)
        plan = Plan(self.name, to_mapping(self), working, step, self.descent.count_steps(len(task.forget_set)))
        return edit_until_goal(task, plan, context)

    def _make_penalty(self, task: Task, working: Classifier, context: Context) -> Callable[[], Tensor]:
        if self.importance_weight == 0:
            return lambda: torch.zeros((), device=context.runtime.device)
        x = task.forget_set.x.to(context.runtime.device)
        return hold_weights(
            working.module, scale_to_unit(compute_importance(working, x, context)), self.importance_weight
        )

    def _make_objectives(
        self, task: Task, working: Classifier, pool: AdversarialPool, stay: Callable[[], Tensor], context: Context
    ) -> Callable[[], Objective]:
        device = context.runtime.device
        rows, labels = task.forget_set.to(device), task.labels.to(device)
        forget_batches = endless_batches(len(rows), self.descent.forget_batch, task.generator("forget batches"))
        pool_batches = endless_batches(len(pool.x), self.adversarial_batch, task.generator("adversarial batches"))
        copies = task.generator("pushed copies")
        growth = accumulate(repeat(self.growth), mul, initial=1.0)

        def draw() -> Objective:
            forget, beside = next(forget_batches), next(pool_batches).to(device)
            x, wanted = present_rows(task, rows.x[forget], labels[forget], copies)
            weight, total = next(growth), len(x) + len(beside)
            share = 1 / (1 + len(beside) / (len(x) * weight))

            def terms(part: slice) -> Terms:
                own, chosen = wanted[part], beside[max(0, part.start - len(x)) : max(0, part.stop - len(x))]
                images = torch.cat([x[part], pool.x[chosen]])
                logits = self.descent.forward(working, images)
                context.add_gradients(len(images))
                unlearning = F.relu(task.goal.gap(logits[: len(own)], own) + self.margin).sum()
                if not len(beside):
                    return {"unlearning": share / len(x) * unlearning}
                adversarial = (logits[len(own) :] - pool.logits[chosen]).square().mean(dim=1).sum()
                weighted = (1 - share) / len(beside) * adversarial
                return {"unlearning": share / len(x) * unlearning, "adversarial": weighted}

            fading = total / (weight * len(x) + len(beside))
            return Objective([Pass(total, terms)], {"importance": fading * stay()})

        return draw
