"""Whole edits: the released loop of L2UL beside ours: 16 rows, CIFAR-10, ResNet-20.

    python benchmarks/speed/edits.py [SEEDS]

Theirs: 20 targets, one at a time, in batches of 32 rows, 100 steps with gradients of all weights on the way; then SGD
in training mode on 256 examples and, in a pass of their own, 32 rows, all rows checked after each step, until all are
misclassified. Ours: `l2ul` as it comes, and with the attack as it was (all 20 steps, float32). About 8 minutes a seed.
"""

import sys
from dataclasses import replace
from functools import partial
from itertools import cycle

import torch
import torch.nn.functional as F
from attacks import ALL_STEPS
from setting import clock, keep, load_setting, load_test_images

from expunge import Classifier, ForgetSet, unlearn
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.l2ul.importance import hold_weights, scale_to_unit
from expunge.methods.l2ul.released import L2ULFaithful, compute_released_importance
from expunge.methods.l2ul.stable import L2UL
from expunge.models.folding import choose_layout
from expunge.surrogates.attack import project_to_ball
from expunge.task.evaluation import compute_logits

TEST_IMAGES, MOST_STEPS = 5000, 1000


def authors_edit(classifier: Classifier, rows: ForgetSet, seed: int) -> tuple[Classifier, int]:
    """Edit as the released loop does; return the classifier and the number of steps."""
    settings, working = L2ULFaithful(), classifier.copy()
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(10, (settings.attack.targets_per_row, len(rows)), generator=generator)
    targets = torch.where(targets == rows.y, 5, targets)
    x = torch.cat([_authors_attack(working, rows.x, row, generator) for row in targets])
    importance = compute_released_importance(working, rows.x, settings.descent, Context(Runtime()))
    stay = hold_weights(working.module, scale_to_unit(importance), settings.importance_weight)
    optimiser = torch.optim.SGD(working.module.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    batches = cycle(list(zip(x.split(256), targets.flatten().split(256), strict=True)))
    steps = 0
    while steps < MOST_STEPS:
        steps += 1
        beside, wanted = next(batches)
        working.module.train()
        share = len(rows) / (len(rows) + len(beside))
        loss = (1 - share) * F.cross_entropy(working(beside), wanted)
        loss = loss - share * F.cross_entropy(working(rows.x), rows.y) + stay()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if bool((compute_logits(working, rows.x).argmax(dim=1) != rows.y).all()):
            break
    working.module.eval()
    return working, steps


def _authors_attack(
    classifier: Classifier, x: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    attack = L2ULFaithful().attack
    classifier.module.eval()
    current = project_to_ball(torch.rand(x.shape, generator=generator), x, attack.radius)
    for _ in range(attack.steps):
        current = current.detach().requires_grad_(True)
        F.cross_entropy(classifier(current), targets, reduction="sum").backward()
        gradient = current.grad
        assert gradient is not None  # noqa: S101 - backward has filled it
        classifier.module.zero_grad()
        moved = current.detach() - attack.step_size * F.normalize(gradient.flatten(1), eps=1e-6).view_as(x)
        current = project_to_ball(moved.clamp(0, 1), x, attack.radius)
    return current.detach().clamp(0, 1)


def measure(name: str, seed: int) -> dict[str, float]:
    """Edit and return time, steps and damage."""
    classifier, rows = load_setting(16, seed)
    with clock() as taken:
        if name == "authors":
            edited, steps = authors_edit(classifier, rows, seed)
        else:
            method = L2UL() if name == "ours" else replace(L2UL(), attack=ALL_STEPS)
            edit = unlearn(classifier, rows, method=method, seed=seed, runtime=Runtime(batch_size=64))
            edited, steps = edit.classifier, edit.steps
    x = load_test_images(TEST_IMAGES)
    before, after = (compute_logits(choose_layout(each, x[:2]), x).argmax(dim=1) for each in (classifier, edited))
    goal = compute_logits(edited, rows.x).argmax(dim=1) != rows.y
    return {
        **taken,
        "steps": steps,
        "goal": float(goal.double().mean()),
        "test_churn": 100 * float((before != after).double().mean()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        for kind in ("ours", "plain-attack", "authors"):
            print(kind, number, keep(f"edits/{kind}-{number}", partial(measure, kind, number)))
