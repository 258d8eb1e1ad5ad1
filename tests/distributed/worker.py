"""What each process of the tests runs: edits by two methods; the first process writes what came out.

    python worker.py FOLDER DEVICES [DIES_AT]

With DIES_AT the second process ends without a word at that forward pass.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

import expunge
from expunge import Attack, Classifier, ForgetSet
from expunge.base.errors import ExpungeWarning
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent
from expunge.methods.l2ul.stable import L2UL
from expunge.methods.least_change.exact import Exact
from expunge.methods.least_change.method import LeastChange
from expunge.methods.least_change.robust import Robust
from expunge.surrogates.draw import SurrogateMix
from expunge.task.task import Limits, Strength

SHAPE = (3, 8, 6)
METHODS = {
    "l2ul": L2UL(
        attack=Attack(targets_per_row=3, radius=1.0, step_size=0.25, steps=5, enough=1.0),
        adversarial_batch=13,
        growth=1.1,
        descent=Descent(learning_rate=0.02, forget_batch=5),
    ),
    "least-change": LeastChange(
        surrogates=SurrogateMix(mixes=40, inverted=0, procedural=10),
        exact=Exact(steps=6, surrogate_batch=15),
        robust=Robust(steps=12, surrogate_batch=45, copies=31),
    ),
}
EDITS = {
    "l2ul": ("l2ul", Strength.EXACT, torch.float32),
    "least-change": ("least-change", Strength.EXACT, torch.float32),
    "least-change-robust": ("least-change", Strength.ROBUST, torch.float64),
}
"""A method, a strength and a precision, by name.

Differences of rounding grow along the large steps of a robust edit, of so small a network above all: only in double
precision do they stay below any difference that a mistake would make.
"""


def make_task(precision):
    """Return a trained classifier of five colours and five rows of it, the same in each process."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    x = torch.rand(40, *SHAPE, generator=generator)
    y = torch.arange(40) % 5
    x = 0.5 * x + 0.5 * torch.rand(5, 3, 1, 1, generator=generator)[y]
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(80):
        optimiser.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimiser.step()
    network.eval()
    return Classifier.wrap(network.to(precision), num_classes=5), ForgetSet.numbered(x[:5].to(precision), y[:5])


def edit(runtime, name, dies_at=None):
    """Return the edit; the second of two processes may die in it."""
    method, strength, precision = EDITS[name]
    classifier, rows = make_task(precision)
    if dies_at is not None and not runtime.leads:
        classifier = Classifier(Dying(classifier.module, dies_at), 5)
    limits = Limits(steps=400 if name == "l2ul" else None)
    return expunge.unlearn(
        classifier, rows, method=METHODS[method], runtime=runtime, strength=strength, limits=limits, minimum_right=0
    )


class Dying(nn.Module):
    """Ends the process at its so-many-th forward pass."""

    def __init__(self, network, left):
        super().__init__()
        self.network, self.left = network, left

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            os._exit(7)
        return self.network(x)


def run(folder, devices, dies_at=None):
    """Edit by each method; the first process writes weights and what the edit says of itself."""
    runtime = Runtime.on("cpu").with_processes(devices)
    said = {}
    for name in ["l2ul"] if dies_at else EDITS:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", ExpungeWarning)
            done = edit(runtime, name, dies_at)
        (folder / f"{name}-seen-by-{runtime.processes.rank}").touch()
        if not runtime.leads:
            continue
        save_file(dict(done.classifier.network.state_dict()), folder / f"{name}.safetensors")
        said[name] = {
            "achieved": done.achieved.tolist(),
            "reason": done.stop_reason.value,
            "steps": done.steps,
            "processes": runtime.processes.count,
            "gradients": done.cost.gradient_evaluations,
            "losses": [dict(point.losses) for point in done.trace],
            "notes": [str(note.message) for note in notes],
        }
    if runtime.leads:
        (folder / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
