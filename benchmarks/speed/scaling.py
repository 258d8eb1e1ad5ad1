"""Time and memory of an `l2ul` edit by number of rows, size of classifier, size of image, and number of processes.

    python benchmarks/speed/scaling.py [quick]

Each measurement is a process of its own, whose largest resident memory is what is reported. Rows are dead leaves with
the classifier's own answers as labels; weights are random, since time and memory hardly depend on them. Every edit
takes the same number of steps, so that costs can be compared. `quick` takes the smallest of each series. About 40
minutes on two cores; with a memory budget of 1 GB (`rows, 1 GB`), memory should not grow with the rows.
"""

import json
import os
import resource
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from setting import RUNS, clock

from expunge import ExpungeWarning, ForgetSet, Limits, unlearn
from expunge.base.disk import write_json
from expunge.compute.runtime import Runtime
from expunge.methods.l2ul.stable import L2UL
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource, load_classifier
from expunge.surrogates.procedural import draw_leaves

STEPS = 3
SMALL = {"model": "cifar:resnet20", "classes": 10, "size": 32, "rows": 16, "targets": 20, "processes": 1}
LARGE = {**SMALL, "rows": 8, "targets": 4, "size": 224, "classes": 1000, "batch_size": 16}
SERIES: dict[str, list[dict[str, Any]]] = {
    "rows": [{**SMALL, "rows": rows} for rows in (16, 64, 256, 1024)],
    "rows, 1 GB": [{**SMALL, "rows": rows, "memory_gigabytes": 1.0} for rows in (16, 64, 256, 1024)],
    "classifier": [
        SMALL,
        {**SMALL, "model": "cifar:resnet32"},
        {**LARGE, "model": "timm:mobilenetv2_100"},
        {**LARGE, "model": "torchvision:resnet50"},
        {**LARGE, "model": "timm:vit_base_patch16_224"},
    ],
    "image": [{**LARGE, "model": "torchvision:resnet50", "size": size} for size in (64, 128, 224)],
    "processes": [{**SMALL, "processes": count} for count in (1, 2)],
}


def measure(cell: dict[str, Any], path: Path) -> None:
    """Edit once, in as many processes as asked for; the first one writes what it took."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ExpungeWarning)
    torch.manual_seed(0)
    classifier = load_classifier(
        ModelSource(cell["model"], None, cell["classes"], Normalisation((0.5,), (0.25,)))
    ).classifier
    generator = torch.Generator().manual_seed(1)
    x = draw_leaves(cell["rows"], (3, cell["size"], cell["size"]), classifier.bounds, generator)
    classifier.module.eval()
    with torch.no_grad():
        labels = torch.cat([classifier(part).argmax(dim=1) for part in x.split(8)])
    budget = cell.get("memory_gigabytes")
    runtime = replace(
        Runtime(batch_size=cell.get("batch_size", 64)).with_processes(cell["processes"]), memory_gigabytes=budget
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    method = replace(L2UL(), attack=replace(L2UL().attack, targets_per_row=cell["targets"], enough=None, steps=3))
    limits = Limits(steps=STEPS)
    with clock() as taken:
        edit = unlearn(classifier, ForgetSet.numbered(x, labels), method=method, runtime=runtime, limits=limits)
    if runtime.leads:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        weights = sum(weight.numel() for weight in classifier.module.parameters())
        cost = {"phases": edit.cost.seconds_by_phase, "gradients": edit.cost.gradient_evaluations}
        write_json(path, {**cell, **taken, **cost, "weights": weights, "before_gigabytes": before, "gigabytes": peak})


def main(quick: bool) -> None:
    """Measure what is missing."""
    for name, cells in SERIES.items():
        for number, cell in enumerate(cells[:1] if quick else cells):
            path = RUNS / "scaling" / f"{name.replace(' ', '-').replace(',', '')}-{number}.json"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                print("measuring", name, cell, flush=True)
                command = [sys.executable, __file__, json.dumps(cell), str(path)]
                subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})  # noqa: S603


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(json.loads(sys.argv[1]), Path(sys.argv[2]))
    else:
        main(sys.argv[1:] == ["quick"])
