"""Adversarial examples of the forget set as surrogates: the paper's ADV set (Cha et al. 2024, arXiv 2301.11578)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.compute.context import Context
from expunge.compute.processes import share_of
from expunge.compute.spilled import FileImages, allocate_images
from expunge.models.classifier import Classifier
from expunge.surrogates.attack import Attack, attack_targets, draw_targets
from expunge.task.evaluation import compute_logits
from expunge.task.task import Task


@dataclass(frozen=True, slots=True)
class AdversarialPool:
    """Adversarial examples with their targets and the logits that the classifier gave them before the edit."""

    x: Float[Tensor, "n c h w"] | FileImages
    targets: Int[Tensor, " n"]
    logits: Float[Tensor, "n classes"]


def make_adversarial_pool(classifier: Classifier, task: Task, attack: Attack, context: Context) -> AdversarialPool:
    """Return `attack.targets_per_row` adversarial examples of each row of the task; with 0 the pool is empty.

    Args:
        classifier: f0 on the context's device, in eval mode with frozen weights.
        task: the forget rows and the seed.
        attack: the settings.
        context: counts gradient evaluations.
    """
    runtime, sharing = context.runtime, context.sharing
    rows = task.forget_set.to(runtime.device)
    targets = draw_targets(
        rows.y, classifier.num_classes, attack.targets_per_row, attack.targets, task.generator("targets")
    )
    wanted, count = targets.flatten(), targets.numel()
    x = allocate_images(rows.x, count, memory_bytes=runtime.pool_bytes, folder=runtime.scratch)
    if count == 0:
        return AdversarialPool(x, wanted, rows.x.new_zeros(0, classifier.num_classes))
    made = attack_targets(classifier, rows.x, targets, attack, generator=task.generator("attack"), context=context)
    for numbers, examples in made:
        x[numbers] = examples
    _exchange(x, context)
    [logits] = sharing.map_concat(
        count, lambda part: [compute_logits(classifier, x[_numbers(part, wanted.device)], sharing)]
    )
    context.add_examples(count, int((logits.argmax(dim=1) == wanted).sum()))
    return AdversarialPool(x, wanted, logits)


def order_in_rounds(rows: int, targets_per_row: int, batch: int) -> Int[Tensor, " n"]:
    """Return the numbers of the adversarial examples (row * n + target) round by round for each batch of rows.

    The order of L2UL's released code: each row of a batch once for the first target, then for the second, and so on.

    >>> order_in_rounds(3, 2, batch=2).tolist()
    [0, 2, 1, 3, 4, 5]
    """
    rounds = torch.arange(targets_per_row).unsqueeze(1)
    return torch.cat([(part * targets_per_row + rounds).flatten() for part in torch.arange(rows).split(batch)])


def _exchange(x: Tensor | FileImages, context: Context) -> None:
    """Give every process the examples that the others have made; those that are not its own are still 0.

    As many at a time as the runtime says: a batch that one process has halved is not that of the others.
    """
    processes, at_once = context.runtime.processes, context.runtime.batch_size
    if processes.count == 1 or share_of(processes, len(x)) == slice(0, len(x)):
        return
    for start in range(0, len(x), at_once):
        numbers = torch.arange(start, min(start + at_once, len(x)))
        examples = x[numbers]
        processes.sum([examples])
        x[numbers] = examples


def _numbers(part: slice, device: torch.device) -> Tensor:
    return torch.arange(part.start, part.stop, device=device)
