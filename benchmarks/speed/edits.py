"""Whole edits of `l2ul`, beside L2UL as released: 16 rows, CIFAR-10, ResNet-20.

    python benchmarks/speed/edits.py [SEEDS]

`l2ul` as it comes, with the attack as it was (all 20 steps, float32), and `l2ul-faithful`, whose attack takes 100 steps
and computes gradients of all weights on the way. About 8 minutes a seed, most of them for the last.
"""

import sys
from dataclasses import replace
from functools import partial

import torch
from attacks import ALL_STEPS
from setting import clock, keep, load_setting, load_test_images

from expunge import unlearn
from expunge.compute.runtime import Runtime
from expunge.methods.l2ul.released import L2ULFaithful
from expunge.methods.l2ul.stable import L2UL
from expunge.methods.protocol import Method
from expunge.models.folding import choose_layout
from expunge.task.evaluation import compute_logits

TEST_IMAGES = 5000
METHODS: dict[str, Method] = {
    "l2ul": L2UL(),
    "l2ul, all steps of the attack": replace(L2UL(), attack=ALL_STEPS),
    "l2ul-faithful": L2ULFaithful(),
}


def measure(name: str, seed: int) -> dict[str, float]:
    """Edit and return time, steps and damage."""
    classifier, rows = load_setting(16, seed)
    with clock() as taken:
        edit = unlearn(classifier, rows, method=METHODS[name], seed=seed, runtime=Runtime())
    x = load_test_images(TEST_IMAGES)
    before, after = (choose_layout(each, x[:2]) for each in (classifier, edit.classifier))
    changed = compute_logits(before, x).argmax(dim=1) != compute_logits(after, x).argmax(dim=1)
    churn = 100 * float(changed.double().mean())
    return {**taken, "steps": edit.steps, "goal": edit.goal_achieved, "test_churn": churn}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        for kind in METHODS:
            print(kind, number, keep(f"edits/{kind}-{number}", partial(measure, kind, number)), flush=True)
