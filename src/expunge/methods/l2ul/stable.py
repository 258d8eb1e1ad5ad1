"""L2UL: unlearn the rows while adversarial examples and weight importance hold everything else in place.

Cha, Cho, Hwang, Lee, Moon, Lee, "Learning to Unlearn: Instance-wise Unlearning for Pre-trained Classifiers",
AAAI 2024, arXiv 2301.11578.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate, repeat
from operator import mul
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.base.settings import check_settings, setting, to_mapping
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Precision, Runtime, computing_in
from expunge.methods.descent import Descent, Objective, endless_batches, present_rows
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.l2ul.importance import Averaging, compute_importance, penalty, scale_to_unit
from expunge.methods.protocol import Aim, Needs
from expunge.models.classifier import Classifier
from expunge.models.layout import choose_layout
from expunge.models.modes import BatchNormMode
from expunge.surrogates.adversarial import AdversarialPool, make_adversarial_pool
from expunge.surrogates.attack import Attack, Start, TargetDraw
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


class UnlearningLoss(StrEnum):
    """How the forget rows are pushed."""

    HINGE = "hinge"
    """max(0, gap + margin): a row is left alone once it has crossed its boundary by the margin."""
    CROSS_ENTROPY = "cross_entropy"
    """The paper's L_UL, -CE or CE to the new label, which never stops pushing."""


class AdversarialAnswer(StrEnum):
    """What the adversarial examples are held to."""

    ORIGINAL_LOGITS = "original_logits"
    """The logits that the classifier gave them before the edit, by their mean squared difference."""
    TARGET_LABEL = "target_label"
    """The attack's target as a hard label, by cross-entropy (the paper's L_ADV)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class L2UL:
    """L = w n_f/(w n_f + n_a) L_UL + n_a/(w n_f + n_a) L_ADV + lambda L_IMP, by SGD until every row holds the goal.

    w is 1 in the paper; here it grows by `growth` a step, so that rows that the regularisers hold back get through in
    the end. These defaults are the stable variant, chosen by measurement; `L2ULFaithful` has the authors'.

    Differs from the paper: BatchNorm is frozen, rows that have crossed are no longer pushed, adversarial examples
    are held to the classifier's own logits instead of a hard label, the attack starts uniformly in a smaller ball,
    takes longer steps and ends where the target leads, targets never equal the label, importance is the mean of
    per-row gradients, there is no weight decay, and half as many adversarial examples go into a step.
    """

    name: ClassVar[str] = "l2ul"
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
    adversarial_answer: AdversarialAnswer = setting(
        AdversarialAnswer.ORIGINAL_LOGITS, "what adversarial examples are held to"
    )
    importance_weight: float = setting(1.0, "weight of L_IMP (lambda); 0 leaves IMP out", at_least=0, spread=100)
    averaging: Averaging = setting(Averaging.PER_ROW, "what weight importance averages")
    unlearning_loss: UnlearningLoss = setting(UnlearningLoss.HINGE, "how the forget rows are pushed")
    margin: float = setting(0.5, "logits by which the hinge wants a row over its boundary", at_least=0, spread=4)
    growth: float = setting(1.02, "factor by which the weight of the unlearning loss grows each step", at_least=1)
    descent: Descent = field(default_factory=Descent)

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        original = choose_layout(task.classifier.to(runtime.device), task.forget_set.x[:2].to(runtime.device))
        reference, working = original.frozen_copy(), original.copy()
        pool = make_adversarial_pool(reference, task, self.attack, meter)
        stay = self._make_penalty(task, working, meter)
        objectives = self._make_objectives(task, working, pool, stay, meter)
        step = self.descent.make_step_in_parts(working, objectives, meter.sharing)
        plan = Plan(self.name, to_mapping(self), working, step, self.descent.count_steps(len(task.forget_set)))
        return edit_until_goal(task, plan, meter)

    def _make_penalty(self, task: Task, working: Classifier, meter: CostMeter) -> Callable[[], Tensor]:
        if self.importance_weight == 0:
            return lambda: torch.zeros((), device=meter.runtime.device)
        x = task.forget_set.x.to(meter.runtime.device)
        importance = scale_to_unit(compute_importance(working, x, self.averaging, meter))
        anchor = {name: weight.detach().clone() for name, weight in working.module.named_parameters()}
        return lambda: penalty(working.module, anchor, importance, self.importance_weight)

    def _make_objectives(
        self, task: Task, working: Classifier, pool: AdversarialPool, stay: Callable[[], Tensor], meter: CostMeter
    ) -> Callable[[], Objective]:
        device = meter.runtime.device
        rows, labels = task.forget_set.to(device), task.labels.to(device)
        forget_batches = endless_batches(len(rows), self.descent.forget_batch, task.generator("forget batches"))
        pool_batches = endless_batches(len(pool.x), self.adversarial_batch, task.generator("adversarial batches"))
        copies = task.generator("pushed copies")
        growth = accumulate(repeat(self.growth), mul, initial=1.0)

        def draw() -> Objective:
            forget, beside = next(forget_batches), next(pool_batches).to(device)
            x, wanted = present_rows(task, rows.x[forget], labels[forget], copies)
            share = 1 / (1 + len(beside) / (len(x) * next(growth)))

            def terms(part: slice) -> list[Tensor]:
                own, chosen = wanted[part], beside[max(0, part.start - len(x)) : max(0, part.stop - len(x))]
                images = torch.cat([x[part], pool.x[chosen]])
                with computing_in(self.descent.precision, device):
                    logits = working(images)
                logits = logits.to(images.dtype)
                meter.add_gradients(len(images))
                unlearning = self._unlearning_loss(task, logits[: len(own)], own)
                if not len(beside):
                    return [share / len(x) * unlearning]
                adversarial = self._adversarial_loss(logits[len(own) :], pool, chosen)
                return [share / len(x) * unlearning, (1 - share) / len(beside) * adversarial]

            names = ("unlearning", "adversarial") if len(beside) else ("unlearning",)
            return Objective(len(x) + len(beside), names, terms, {"importance": stay()})

        return draw

    def _unlearning_loss(self, task: Task, logits: Tensor, labels: Tensor) -> Tensor:
        """Return L_UL, summed over rows."""
        if self.unlearning_loss is UnlearningLoss.HINGE:
            return F.relu(task.goal.gap(logits, labels) + self.margin).sum()
        return task.goal.loss(logits, labels).sum()

    def _adversarial_loss(self, logits: Tensor, pool: AdversarialPool, chosen: Tensor) -> Tensor:
        """Return L_ADV, summed over examples."""
        if self.adversarial_answer is AdversarialAnswer.TARGET_LABEL:
            return F.cross_entropy(logits, pool.targets[chosen], reduction="sum")
        return (logits - pool.logits[chosen]).square().mean(dim=1).sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class L2ULFaithful(L2UL):
    """L2UL as its authors ran it on CIFAR-10, training-mode BatchNorm and noised start included.

    Differs from the release: importance is computed row by row before the mean, so that it doesn't depend on gradients
    left over in an optimiser; a constant tensor gets an importance of 0 where the release divides by zero.
    """

    name: ClassVar[str] = "l2ul-faithful"
    summary: ClassVar[str] = "L2UL as the authors ran it, training-mode BatchNorm and noised start included"

    attack: Attack = field(default_factory=lambda: Attack(start=Start.NOISE_PROJECTED, targets=TargetDraw.RELEASED))
    adversarial_batch: int = setting(256, "adversarial examples in a step (n_a)", at_least=1)
    adversarial_answer: AdversarialAnswer = setting(
        AdversarialAnswer.TARGET_LABEL, "what adversarial examples are held to"
    )
    averaging: Averaging = setting(Averaging.BATCH_MEAN, "what weight importance averages")
    unlearning_loss: UnlearningLoss = setting(UnlearningLoss.CROSS_ENTROPY, "how the forget rows are pushed")
    growth: float = setting(1.0, "factor by which the weight of the unlearning loss grows each step", at_least=1)
    descent: Descent = field(default_factory=lambda: Descent(weight_decay=1e-4, batchnorm=BatchNormMode.BATCH))
