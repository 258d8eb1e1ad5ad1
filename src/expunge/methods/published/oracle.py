"""Oracle: climb on the forget set while training on the rest; what a method without retain data can hope for."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent, Objective, batches_in_turn, present_rows
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import require_retain
from expunge.models.modes import BatchNormMode
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle(Settings):
    """SGD on L_UL(D_f) + CE(D_r) until every row holds the goal: fine-tuning, not retraining.

    The upper baseline of Cha et al. 2024 (arXiv 2301.11578), as their released code runs it (on UTKFace; they released
    none for CIFAR): the retain images go through the network first, then the rows, each batch normalised by its own
    statistics; the two losses have the same weight. The retain images are shuffled once, and then gone through in that
    order over and over again, as are the rows in theirs.

    Differs from the release: BatchNorm is frozen for a batch of one image; it ends after as many steps as 1,000 passes
    over the rows, where theirs ends after 1,001 passes over the retain data; where a limit ends it, the best state is
    returned and not the last.
    """

    name: ClassVar[str] = "oracle"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "push the rows away while training on the retain data"
    source: ClassVar[str] = "baseline in Cha et al., AAAI 2024, arXiv 2301.11578"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify", "relabel")
    strength: ClassVar[Strength] = Strength.EXACT

    retain_batch: int = setting(128, "retain images in a step", at_least=1)
    descent: Descent = field(
        default_factory=lambda: Descent(weight_decay=1e-4, batchnorm=BatchNormMode.BATCH, forget_batch=128)
    )

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        rows, wanted = task.forget_set.to(runtime.device), task.labels.to(runtime.device)
        retain = require_retain(task)
        order = torch.randperm(len(retain.labels), generator=task.generator("retain batches"))
        forget_batches = batches_in_turn(torch.arange(len(rows)), self.descent.forget_batch)
        retain_batches = batches_in_turn(order, self.retain_batch)
        copies = task.generator("pushed copies")

        def draw() -> Objective:
            forget, kept = next(forget_batches), next(retain_batches)
            x, labels = present_rows(task, rows.x[forget], wanted[forget], copies)
            kept_x, kept_y = retain.load(kept.tolist()).to(x), retain.labels[kept].to(x.device)

            def retain_loss(logits: Tensor, part: slice) -> Tensor:
                return F.cross_entropy(logits, kept_y[part], reduction="sum") / len(kept_x)

            def unlearning_loss(logits: Tensor, part: slice) -> Tensor:
                return task.goal.loss(logits, labels[part]).sum() / len(x)

            return Objective(
                [
                    self.descent.make_pass(working, kept_x, "retain", retain_loss, context),
                    self.descent.make_pass(working, x, "unlearning", unlearning_loss, context),
                ]
            )

        step = self.descent.make_step(working, draw, context)
        plan = Plan(self.name, to_mapping(self), working, step, self.descent.count_steps(len(rows)))
        return edit_until_goal(task, plan, context)
