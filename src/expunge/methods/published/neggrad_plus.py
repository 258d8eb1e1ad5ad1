"""NegGrad+: descend on the retain data and climb on the forget set at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import ClassVar

import torch.nn.functional as F

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, require_retain, run_epochs
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Augmentation, Batch, Training
from expunge.training.step import Pass, Terms
from expunge.training.trainer import draw_batches


@dataclass(frozen=True, slots=True, kw_only=True)
class NegGradPlus(Settings):
    """SGD on a CE(D_r) - (1 - a) CE(D_f), for epochs of D_r.

    Kurmanji et al. 2023 (arXiv 2302.09880), with what their code sets for CIFAR-10 and 100 rows. The rows go through
    the network by themselves, after the retain data. Their batches are drawn anew each epoch and go round within it.
    There is neither momentum nor weight decay nor augmentation.
    """

    name: ClassVar[str] = "neggrad-plus"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "descend on the retain data, climb a little on the rows"
    source: ClassVar[str] = "Kurmanji et al., NeurIPS 2023, arXiv 2302.09880"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    retain_share: float = setting(
        0.9999, "weight of the retain loss (a); the rows get 1 - a", at_least=0, at_most=1, spread=1.1
    )
    forget_batch: int = setting(16, "rows to forget in a step", at_least=1)
    training: Training = field(
        default_factory=lambda: Training(
            epochs=5, momentum=0.0, weight_decay=0.0, batch_size=32, augmentation=Augmentation.NONE
        )
    )

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        rows = task.forget_set.to(runtime.device)
        retain, trainer = require_retain(task), Trainer(task, working, self.training, context)
        generator = trainer.generator("forget batches")

        def run_epoch(epoch: int) -> Mapping[str, float]:
            chosen = cycle(draw_batches(len(rows), self.forget_batch, generator))

            def draw(batch: Batch) -> list[Pass]:
                forget = next(chosen)

                def keep(part: slice) -> Terms:
                    loss = F.cross_entropy(working(batch.x[part]), batch.y[part])
                    return {"retain": self.retain_share * (len(batch.x[part]) / len(batch.x) * loss)}

                def lose(part: slice) -> Terms:
                    taken = forget[part]
                    loss = F.cross_entropy(working(rows.x[taken]), rows.y[taken])
                    return {"forget": (self.retain_share - 1) * (len(taken) / len(forget) * loss)}

                return [trainer.make_pass(len(batch.x), keep), trainer.make_pass(len(forget), lose)]

            return trainer.run_steps(retain, draw, epoch=epoch)

        return run_epochs(self, trainer, run_epoch)
