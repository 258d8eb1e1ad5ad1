"""SalUn: random labels, learnt only by the weights that matter for the rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.base.settings import check_settings, setting
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, Training, train
from expunge.methods.published.random_label import mislabel
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SalUn:
    """Random label on the half of the weights whose |gradient of CE(D_f)| is largest; all others stay bit for bit.

    Fan et al. 2024 (arXiv 2310.12508).

    Differs from the paper: masked weights are put back after each step, momentum and weight decay included, where
    masking the gradient alone lets both move them; a row's wrong label is drawn once.
    """

    name: ClassVar[str] = "salun"
    summary: ClassVar[str] = "random labels on the weights with the largest forget gradient"
    source: ClassVar[str] = "Fan et al., ICLR 2024, arXiv 2310.12508"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    salient_share: float = setting(0.5, "share of the weights that may change", above=0, at_most=1, spread=2)
    training: Training = field(default_factory=lambda: Training(learning_rate=1.3e-2))

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        working = task.classifier.to(runtime.device).copy()
        salient = find_salient(working, task.forget_set, self.salient_share, meter)
        return train(
            self,
            Trainer(task, working, self.training, meter),
            images=mislabel(task),
            losses=lambda batch: {"everything": F.cross_entropy(working(batch.x), batch.y)},
            after_step=_make_restore(working, salient),
        )


def find_salient(classifier: Classifier, rows: ForgetSet, share: float, meter: CostMeter) -> dict[str, Tensor]:
    """Return for each weight that requires gradients, by name, whether it is among the `share` of largest gradients.

    The gradient is that of CE summed over all rows, in eval mode; the threshold is one for all weights. Weights at the
    threshold are not salient, so that a weight without a gradient never is, unless `share` is 1.
    """
    named = {name: weight for name, weight in classifier.module.named_parameters() if weight.requires_grad}
    total = {name: torch.zeros_like(weight) for name, weight in named.items()}
    batch_size = meter.runtime.batch_size
    with meter.phase("saliency", total=len(rows)) as advance, evaluating(classifier.module):
        for x, y in zip(rows.x.split(batch_size), rows.y.split(batch_size), strict=True):
            logits = classifier(x.to(classifier.device))
            loss = F.cross_entropy(logits, y.to(logits.device), reduction="sum")
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
            for name, gradient in zip(named, gradients, strict=True):
                total[name] += 0 if gradient is None else gradient
            meter.add_gradients(len(x))
            advance(len(x))
    sizes = torch.cat([gradient.abs().flatten() for gradient in total.values()])
    masked = len(sizes) - round(share * len(sizes))
    threshold = float(sizes.kthvalue(masked).values) if masked else -1.0
    return {name: gradient.abs() > threshold for name, gradient in total.items()}


def _make_restore(working: Classifier, salient: dict[str, Tensor]) -> Callable[[], None]:
    named = dict(working.module.named_parameters())
    original = {name: named[name].detach().clone() for name in salient}

    def restore() -> None:
        with torch.no_grad():
            for name, mask in salient.items():
                named[name].copy_(torch.where(mask, named[name], original[name]))

    return restore
