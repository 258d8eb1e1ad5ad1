"""l1-sparse: fine-tuning with a fading L1 penalty, since sparse networks forget more easily."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, require_retain, train
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Batch, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class L1Sparse(Settings):
    """SGD on CE(D_r) + g (1 - e/E) ||theta||_1, e the epoch counted from 0 and E their number.

    Jia et al. 2023 (arXiv 2304.04934), with the linearly decreasing schedule. g has to be tuned.
    """

    name: ClassVar[str] = "l1-sparse"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "fine-tune with an L1 penalty that fades out"
    source: ClassVar[str] = "Jia et al., NeurIPS 2023, arXiv 2304.04934"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    penalty: float = setting(5e-4, "weight of the L1 norm in the first epoch (g)", at_least=0, spread=30)
    training: Training = field(default_factory=lambda: Training(batch_size=256))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        weights = [weight for weight in working.module.parameters() if weight.requires_grad]

        def losses(batch: Batch) -> Mapping[str, Tensor]:
            factor = self.penalty * (1 - batch.epoch / self.training.epochs)
            norm = torch.stack([weight.abs().sum() for weight in weights]).sum()
            return {"retain": F.cross_entropy(working(batch.x), batch.y), "sparsity": factor * norm}

        trainer = Trainer(task, working, self.training, context)
        return train(self, trainer, images=require_retain(task), losses=losses)
