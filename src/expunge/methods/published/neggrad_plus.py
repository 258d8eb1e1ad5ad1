"""NegGrad+: descend on the retain data and climb on the rows to forget at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.base.settings import check_settings, setting
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.methods.descent import endless_batches
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Batch, Trainer, Training, require_retain, train
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class NegGradPlus:
    """SGD on a CE(D_r) - (1 - a) CE(D_f), for epochs of D_r.

    Kurmanji et al. 2023 (arXiv 2302.09880).

    Differs from the paper: both batches go through the network together, so that in training mode BatchNorm never sees
    a batch of rows to forget alone.
    """

    name: ClassVar[str] = "neggrad-plus"
    summary: ClassVar[str] = "descend on the retain data, climb a little on the rows"
    source: ClassVar[str] = "Kurmanji et al., NeurIPS 2023, arXiv 2302.09880"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    retain_share: float = setting(
        0.95, "weight of the retain loss (a); the rows get 1 - a", at_least=0, at_most=1, spread=1.1
    )
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        working = task.classifier.to(runtime.device).copy()
        rows = task.forget_set.to(runtime.device)
        chosen = endless_batches(len(rows), self.training.batch_size, task.generator("forget batches"))

        def losses(batch: Batch) -> Mapping[str, Tensor]:
            forget = next(chosen)
            meter.add_gradients(len(forget))
            logits = working(torch.cat([batch.x, rows.x[forget]]))
            retained, forgotten = logits[: len(batch.x)], logits[len(batch.x) :]
            return {
                "retain": self.retain_share * F.cross_entropy(retained, batch.y),
                "forget": (self.retain_share - 1) * F.cross_entropy(forgotten, rows.y[forget]),
            }

        trainer = Trainer(task, working, self.training, meter)
        return train(self, trainer, images=require_retain(task), losses=losses)
