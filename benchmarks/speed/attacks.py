"""Our attack beside a plain loop, torchattacks and Foolbox: 16 rows, 20 targets each, CIFAR-10, ResNet-20.

    pip install torchattacks foolbox      # in an environment of their own, or with --no-deps
    python benchmarks/speed/attacks.py [ROUNDS]

All make the same 320 examples: L2 radius 1, step 0.25, 20 steps. Theirs go as is usual with such libraries, one target
at a time, in batches of at most 32 rows; the one of the authors' setting (radius 4, 100 steps of 0.1) is in edits.py.
All take turns in each round. About 3 minutes a round.
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from setting import clock, keep, load_setting
from torch import Tensor

from expunge import Attack, Classifier, ForgetSet
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.l2ul.stable import L2UL
from expunge.models.folding import choose_layout
from expunge.surrogates.adversarial import make_adversarial_pool
from expunge.surrogates.attack import TargetDraw, draw_targets
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Relabel
from expunge.task.task import Task

ROWS, TARGETS, AT_ONCE, BATCH = 16, 20, 32, 64
ALL_STEPS = Attack(targets_per_row=TARGETS, radius=1.0, step_size=0.25, steps=20)
DEFAULT = L2UL().attack
Maker = Callable[[Classifier, ForgetSet, Tensor], Tensor]
"""A classifier, rows and their (k, n) targets -> (k * n) examples, all targets of a row one after another."""


def ours(attack: Attack) -> Maker:
    def make(classifier: Classifier, rows: ForgetSet, targets: Tensor) -> Tensor:
        frozen = choose_layout(classifier, rows.x[:2]).frozen_copy()
        pool = make_adversarial_pool(frozen, Task.create(classifier, rows), attack, Context(Runtime(batch_size=BATCH)))
        return pool.x[torch.arange(len(pool.x))]

    return make


def one_target_at_a_time(attack: Callable[[Classifier, Tensor, Tensor, Tensor], Tensor]) -> Maker:
    def make(classifier: Classifier, rows: ForgetSet, targets: Tensor) -> Tensor:
        by_target = [
            torch.cat(
                [
                    attack(classifier, x, y, wanted)
                    for x, y, wanted in zip(
                        rows.x.split(AT_ONCE), rows.y.split(AT_ONCE), column.split(AT_ONCE), strict=True
                    )
                ]
            )
            for column in targets.T
        ]
        return torch.stack(by_target, dim=1).flatten(0, 1)

    return make


def plain_loop(classifier: Classifier, x: Tensor, y: Tensor, targets: Tensor, attack: Attack = ALL_STEPS) -> Tensor:
    """Attack as a textbook would write it."""
    current = x + attack.radius * F.normalize(torch.randn_like(x).flatten(1)).view_as(x) * torch.rand(len(x), 1, 1, 1)
    current = current.clamp(0, 1)
    for _ in range(attack.steps):
        current = current.detach().requires_grad_(True)
        loss = F.cross_entropy(classifier(current), targets)
        (gradient,) = torch.autograd.grad(loss, current)
        current = current.detach() - attack.step_size * F.normalize(gradient.flatten(1)).view_as(x)
        current = (x + (current - x).flatten(1).renorm(2, 0, attack.radius).view_as(x)).clamp(0, 1)
    return current.detach()


def with_torchattacks(classifier: Classifier, x: Tensor, y: Tensor, targets: Tensor) -> Tensor:
    import torchattacks  # noqa: PLC0415 - a peer that this benchmark alone needs

    attack = torchattacks.PGDL2(
        classifier.module, eps=ALL_STEPS.radius, alpha=ALL_STEPS.step_size, steps=ALL_STEPS.steps
    )
    attack.set_mode_targeted_by_label(quiet=True)
    made: Tensor = attack(x, targets)
    return made


def with_foolbox(classifier: Classifier, x: Tensor, y: Tensor, targets: Tensor) -> Tensor:
    import foolbox  # noqa: PLC0415 - a peer that this benchmark alone needs

    model = foolbox.PyTorchModel(classifier.module, bounds=(0, 1), device=x.device)
    attack = foolbox.attacks.L2PGD(abs_stepsize=ALL_STEPS.step_size, steps=ALL_STEPS.steps)
    made: Tensor = attack(model, x, foolbox.criteria.TargetedMisclassification(targets), epsilons=ALL_STEPS.radius)[1]
    return made


MAKERS: dict[str, Maker] = {
    "expunge": ours(replace(DEFAULT, targets_per_row=TARGETS)),
    "expunge, float32": ours(replace(DEFAULT, targets_per_row=TARGETS, precision=ALL_STEPS.precision)),
    "expunge, all steps": ours(ALL_STEPS),
    "plain loop": one_target_at_a_time(plain_loop),
    "torchattacks PGDL2": one_target_at_a_time(with_torchattacks),
    "Foolbox L2PGD": one_target_at_a_time(with_foolbox),
}


def measure(name: str, number: int) -> dict[str, float]:
    """Make the examples of one round and return time and success."""
    classifier, rows = load_setting(ROWS, seed=number)
    classifier.module.eval()
    generator = Task.create(classifier, rows).generator("targets")
    targets = draw_targets(rows.y, classifier.num_classes, TARGETS, TargetDraw.DISTINCT, generator)
    torch.manual_seed(number)
    with warnings.catch_warnings(), clock() as taken:
        warnings.simplefilter("ignore")
        made = MAKERS[name](classifier, rows, targets)
    lead = -Relabel().gap(compute_logits(classifier, made), targets.flatten())
    offsets = (made - rows.x.repeat_interleave(TARGETS, dim=0)).flatten(1).norm(dim=1)
    return {
        **taken,
        "reached": float((lead > 0).double().mean()),
        "median_lead": float(lead.median()),
        "largest_offset": float(offsets.max()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for turn in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        for maker in MAKERS:
            name = f"attacks/{maker.replace(' ', '-').replace(',', '')}-{turn}"
            print(maker, keep(name, partial(measure, maker, turn)))
