"""Adversarial examples of the forget rows as probes: the paper's ADV set (Cha et al. 2024, arXiv 2301.11578)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from expunge.adversarial import Attack, attack_targets, draw_targets
from expunge.classifier import Classifier
from expunge.measurement import compute_logits
from expunge.runtime import CostMeter
from expunge.task import Task


@dataclass(frozen=True, slots=True)
class AdversarialPool:
    """Adversarial examples with their targets and the logits that the classifier gave them before the edit."""

    x: Float[Tensor, "n c h w"]
    targets: Int[Tensor, " n"]
    logits: Float[Tensor, "n classes"]


def make_adversarial_pool(classifier: Classifier, task: Task, attack: Attack, meter: CostMeter) -> AdversarialPool:
    """Return `attack.targets_per_row` adversarial examples of each row of the task; with 0 the pool is empty.

    Args:
        classifier: f0 on the meter's device, in eval mode with frozen weights.
        task: the forget rows and the seed.
        attack: the settings.
        meter: counts gradient evaluations.
    """
    rows = task.forget_set.to(meter.runtime.device)
    targets = draw_targets(
        rows.y, classifier.num_classes, attack.targets_per_row, attack.targets, task.generator("targets")
    )
    x = rows.x.new_empty(targets.numel(), *rows.x.shape[1:])
    if len(x) == 0:
        return AdversarialPool(x, targets.flatten(), x.new_zeros(0, classifier.num_classes))
    made = attack_targets(classifier, rows.x, targets, attack, generator=task.generator("attack"), meter=meter)
    for numbers, examples in made:
        x[numbers] = examples
    pool = AdversarialPool(x, targets.flatten(), compute_logits(classifier, x, meter.runtime.batch_size))
    meter.add_examples(len(x), int((pool.logits.argmax(dim=1) == pool.targets).sum()))
    return pool
