"""Fine-tune: go on training without the forget set, and hope that it fades."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, require_retain, train
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Training


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTune:
    """SGD on CE(D_r); the forget rows are never looked at.

    As a baseline in Golatkar et al. 2020 (arXiv 1911.04933) and since; rate and epochs as in Fan et al. 2024
    (arXiv 2310.12508).
    """

    name: ClassVar[str] = "fine-tune"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "go on training on the retain data only"
    source: ClassVar[str] = "baseline in Golatkar et al., CVPR 2020, arXiv 1911.04933"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    training: Training = field(default_factory=lambda: Training(batch_size=256))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        trainer = Trainer(task, working, self.training, context)
        return train(
            self,
            trainer,
            images=require_retain(task),
            losses=lambda batch: {"retain": F.cross_entropy(working(batch.x), batch.y)},
        )
