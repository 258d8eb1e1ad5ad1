"""L2UL as its authors' released code runs it, to compare with; `expunge.methods.l2ul.stable` is the stable variant.

Cha, Cho, Hwang, Lee, Moon, Lee, "Learning to Unlearn: Instance-wise Unlearning for Pre-trained Classifiers",
AAAI 2024, arXiv 2301.11578.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent, Objective, PartLoss, batches_in_turn, present_rows
from expunge.methods.engine import Plan, edit_until_goal, seeded_layers
from expunge.methods.l2ul.importance import Importance, hold_weights, scale_to_unit
from expunge.methods.protocol import Aim, Needs
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode
from expunge.surrogates.adversarial import AdversarialPool, make_adversarial_pool, order_in_rounds
from expunge.surrogates.attack import Attack, Order, Start, TargetDraw
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training.step import differentiate_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class L2ULFaithful(Settings):
    """L2UL as released for CIFAR-10: ADV+IMP, with ADV alone and IMP alone as settings.

    L = L_UL n_f/(n_f + n_a) + L_ADV n_a/(n_f + n_a) + lambda L_IMP, by SGD until every row holds the goal, where L_UL
    is -CE (or CE to the new label) and L_ADV is CE to the attack's target. Each step sends the adversarial examples
    through the network, then the rows: each batch is normalised by its own statistics, and the running ones move twice.
    Nothing is shuffled. A pass goes through the adversarial examples once, while the batches of rows go round.

    Differs from the release: a tensor whose importance is the same everywhere scales to 0, where theirs divides by
    zero; BatchNorm is frozen for a batch of one image; where a limit ends the edit, the best state is returned and not
    the last; it ends after 1,000 passes and not 1,001.
    """

    name: ClassVar[str] = "l2ul-faithful"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "L2UL as its authors' released code runs it"
    source: ClassVar[str] = "Cha et al., AAAI 2024, arXiv 2301.11578"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify", "relabel")
    strength: ClassVar[Strength] = Strength.EXACT

    attack: Attack = field(
        default_factory=lambda: Attack(
            start=Start.NOISE_PROJECTED, targets=TargetDraw.RELEASED, order=Order.BOUNDS_FIRST
        )
    )
    adversarial_batch: int = setting(256, "adversarial examples in a step (n_a)", at_least=1)
    importance_weight: float = setting(1.0, "weight of L_IMP (lambda); 0 leaves IMP out", at_least=0, spread=100)
    descent: Descent = field(default_factory=lambda: Descent(weight_decay=1e-4, batchnorm=BatchNormMode.BATCH))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        original = task.classifier.to(runtime.device)
        working = original.copy()
        pool = make_adversarial_pool(original.frozen_copy(), task, self.attack, context)
        order = order_in_rounds(len(task.forget_set), self.attack.targets_per_row, self.descent.forget_batch)
        batches = order.split(self.adversarial_batch) if len(order) else ()
        step = self.descent.make_step(working, self._make_objectives(task, working, pool, batches, context), context)
        limit = self.descent.passes * len(batches) or self.descent.count_steps(len(task.forget_set))
        return edit_until_goal(task, Plan(self.name, to_mapping(self), working, step, limit), context)

    def _make_objectives(
        self, task: Task, working: Classifier, pool: AdversarialPool, batches: tuple[Tensor, ...], context: Context
    ) -> Callable[[], Objective]:
        device = context.runtime.device
        rows, labels = task.forget_set.to(device), task.labels.to(device)
        forget_batches = batches_in_turn(torch.arange(len(rows)), self.descent.forget_batch)
        adversarial_batches = cycle(batches or (torch.arange(0),))
        copies = task.generator("pushed copies")
        stay = self._make_penalty(task, working, context) if self.importance_weight > 0 else None

        def draw() -> Objective:
            forget, beside = next(forget_batches), next(adversarial_batches).to(device)
            x, wanted = present_rows(task, rows.x[forget], labels[forget], copies)
            count, targets = len(x) + len(beside), pool.targets[beside]

            def adversarial_loss(logits: Tensor, part: slice) -> Tensor:
                return F.cross_entropy(logits, targets[part], reduction="sum") / count

            def unlearning_loss(logits: Tensor, part: slice) -> Tensor:
                return task.goal.loss(logits, wanted[part]).sum() / count

            passes = [self.descent.make_pass(working, x, "unlearning", unlearning_loss, context)]
            if len(beside):
                examples = pool.x[beside]
                passes.insert(0, self.descent.make_pass(working, examples, "adversarial", adversarial_loss, context))
            return Objective(passes, {} if stay is None else {"importance": stay()})

        return draw

    def _make_penalty(self, task: Task, working: Classifier, context: Context) -> Callable[[], Tensor]:
        x = task.forget_set.x.to(context.runtime.device)
        with seeded_layers(task, context):
            importance = compute_released_importance(working, x, self.descent, context)
        return hold_weights(working.module, scale_to_unit(importance), self.importance_weight)


def compute_released_importance(
    original: Classifier, x: Float[Tensor, "k c h w"], descent: Descent, context: Context
) -> Importance:
    """Return Omega as the release computes it: |gradient of the batch mean of ||f(x)||_2|, batch by batch.

    In training mode, on a copy, so the classifier's own statistics stay where they are. The release never resets the
    gradients of that copy, so those of successive batches add up before |.| is taken.

    Args:
        original: f0; parameters that don't require gradients get an importance of 0.
        x: the forget rows.
        descent: batch size, BatchNorm mode and numbers of the edit.
        context: counts gradient evaluations.
    """
    twin, size, among = original.copy(), descent.forget_batch, descent.choose_among(context)
    named = dict(twin.module.named_parameters())
    trainable = {name: weight for name, weight in named.items() if weight.requires_grad}
    summed, total = ({name: torch.zeros_like(weight) for name, weight in named.items()} for _ in range(2))
    with context.phase("importance", total=len(x)) as advance:
        for batch in x.split(size):
            one = descent.make_pass(twin, batch, "norm", _mean_norm(len(batch)), context)
            _, gradients = differentiate_pass(one, list(trainable.values()), twin.module, context.sharing, among)
            for name, gradient in zip(trainable, gradients, strict=True):
                if gradient is not None:
                    summed[name] += gradient
                    total[name] += summed[name].abs() * len(batch)
            advance(len(batch))
    return {name: each / ((len(x) // size + 1) * size) for name, each in total.items()}


def _mean_norm(images: int) -> PartLoss:
    """Return what a part of so many images adds to the mean of ||f(x)||_2."""
    return lambda logits, part: logits.norm(dim=1).mean() * (len(logits) / images)
