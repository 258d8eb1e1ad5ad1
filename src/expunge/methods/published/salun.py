"""SalUn: random labels, learnt only by the weights that matter for the forget set."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer
from expunge.methods.published.random_label import Order, train_on_random_labels
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Training
from expunge.training.augmentation import augment


@dataclass(frozen=True, slots=True, kw_only=True)
class SalUn(Settings):
    """Random label on the half of the weights whose |gradient of CE(D_f)| is largest; all others stay bit for bit.

    Fan et al. 2024 (arXiv 2310.12508). As in their code, the gradient is that of augmented rows in eval mode, and
    masked weights are put back after each step, so that neither momentum nor weight decay moves them.
    """

    name: ClassVar[str] = "salun"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "random labels on the weights with the largest forget gradient"
    source: ClassVar[str] = "Fan et al., ICLR 2024, arXiv 2310.12508"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    salient_share: float = setting(0.5, "share of the weights that may change", above=0, at_most=1, spread=2)
    order: Order = setting(Order.ROWS_FIRST, "in which order an epoch goes through the rows and the retain data")
    training: Training = field(default_factory=lambda: Training(learning_rate=1.3e-2, batch_size=256))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        augmentation, moves = self.training.augmentation, task.generator("augmentation of the rows")
        seen = replace(task.forget_set, x=augment(task.forget_set.x, augmentation, working.bounds, moves))
        restore = _make_restore(working, find_salient(working, seen, self.salient_share, context))
        return train_on_random_labels(self, Trainer(task, working, self.training, context), self.order, restore)


def find_salient(
    classifier: Classifier, rows: ForgetSet, share: float, context: Context
) -> dict[str, Bool[Tensor, "..."]]:
    """Return for each weight that requires gradients, by name, whether it is among the `share` of largest gradients.

    The gradient is that of CE summed over all rows, in eval mode. All weights are ranked together, and of equal ones
    the first counts as larger.
    """
    named = {name: weight for name, weight in classifier.module.named_parameters() if weight.requires_grad}
    weights = list(named.values())

    def add_up(part: slice) -> list[Tensor]:
        logits = classifier(rows.x[part].to(classifier.device))
        loss = F.cross_entropy(logits, rows.y[part].to(logits.device), reduction="sum")
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        context.add_gradients(len(logits))
        advance(len(logits))
        return list(gradients)

    with context.phase("saliency", total=len(rows)) as advance, evaluating(classifier.module):
        total = dict(zip(named, context.sharing.map_sum(len(rows), add_up), strict=True))
    sizes = torch.cat([gradient.abs().flatten() for gradient in total.values()])
    chosen = torch.zeros_like(sizes, dtype=torch.bool)
    chosen[sizes.argsort(descending=True, stable=True)[: int(share * len(sizes))]] = True
    parts = chosen.split([gradient.numel() for gradient in total.values()])
    return {name: part.view_as(total[name]) for name, part in zip(total, parts, strict=True)}


def _make_restore(working: Classifier, salient: dict[str, Tensor]) -> Callable[[], None]:
    named = dict(working.module.named_parameters())
    original = {name: named[name].detach().clone() for name in salient}

    def restore() -> None:
        with torch.no_grad():
            for name, mask in salient.items():
                named[name].copy_(torch.where(mask, named[name], original[name]))

    return restore
