"""Oracle: climb on the rows while training on all the rest; what a method without retain data can hope for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.base.settings import check_settings, setting, to_mapping
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent, endless_batches, present_rows
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import require_retain
from expunge.models.modes import BatchNormMode
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """SGD on L_UL(D_f) + CE(D_r) until every row holds the goal: fine-tuning, not retraining.

    The upper baseline of Cha et al. 2024 (arXiv 2301.11578), with the settings of its L2UL.

    Differs from the paper: both batches go through the network together, so that in training mode BatchNorm never sees
    a batch of rows to forget alone.
    """

    name: ClassVar[str] = "oracle"
    summary: ClassVar[str] = "push the rows away while training on the retain data"
    source: ClassVar[str] = "baseline in Cha et al., AAAI 2024, arXiv 2301.11578"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify", "relabel")
    strength: ClassVar[Strength] = Strength.EXACT

    retain_batch: int = setting(256, "retain images in a step", at_least=1)
    descent: Descent = field(default_factory=lambda: Descent(weight_decay=1e-4, batchnorm=BatchNormMode.BATCH))

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        working = task.classifier.to(runtime.device).copy()
        rows, wanted = task.forget_set.to(runtime.device), task.labels.to(runtime.device)
        retain = require_retain(task)
        retain_labels = retain.labels
        forget_batches = endless_batches(len(rows), self.descent.forget_batch, task.generator("forget batches"))
        retain_batches = endless_batches(len(retain_labels), self.retain_batch, task.generator("retain batches"))
        copies = task.generator("pushed copies")

        def losses() -> Mapping[str, Tensor]:
            forget, kept = next(forget_batches), next(retain_batches)
            x, labels = present_rows(task, rows.x[forget], wanted[forget], copies)
            logits = working(torch.cat([x, retain.load(kept.tolist()).to(x)]))
            meter.add_gradients(len(logits))
            return {
                "unlearning": task.goal.loss(logits[: len(x)], labels).mean(),
                "retain": F.cross_entropy(logits[len(x) :], retain_labels[kept].to(x.device)),
            }

        step = self.descent.make_step(working, losses)
        plan = Plan(self.name, to_mapping(self), working, step, self.descent.count_steps(len(rows)))
        return edit_until_goal(task, plan, meter)
