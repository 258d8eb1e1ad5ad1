"""The first edit of a classifier: seconds with an empty cache, and what else changed, with each effort.

    python benchmarks/speed/cold.py [--efforts quick,standard] [--only exact]

16 images to forget, `least-change`, surrogates included, wall time, a thread on each core; each edit runs in a process
of its own. ResNet-18 has random filters, and a head that is fitted to photographs. Every edit that is done is kept;
those with thorough effort take longest.
"""

import os
import subprocess
import sys
import tempfile
from typing import Any

import click
import torch
from setting import MEAN, ROOT, RUNS, STD, clock, keep, save_resnet18

from expunge import Strength, unlearn
from expunge.bench.cells import find_data
from expunge.compute.runtime import Runtime
from expunge.data.images import Subset
from expunge.jobs.inputs import load_inputs
from expunge.jobs.job import DataPart, ForgetPart, Job, ModelPart
from expunge.methods import make_method
from expunge.surrogates.cache import CACHE_VARIABLE
from expunge.task.evaluation import churn, predict
from expunge.task.task import Effort

COUNT, SEED, IMAGES = 16, 0, 2000
SETTINGS = {
    "exact, ResNet-20, 32 px": ("cifar:resnet20", 32, Strength.EXACT),
    "robust, ResNet-20, 32 px": ("cifar:resnet20", 32, Strength.ROBUST),
    "exact, ResNet-18, 64 px": ("torchvision:resnet18", 64, Strength.EXACT),
    "robust, ResNet-18, 64 px": ("torchvision:resnet18", 64, Strength.ROBUST),
    "exact, MobileNetV2, 224 px": ("timm:mobilenetv2_100?pad_type=same", 224, Strength.EXACT),
}


@click.command()
@click.option("--efforts", default="quick,standard,thorough", show_default=True)
@click.option("--only", default="", help="Settings whose names hold this.")
def main(efforts: str, only: str) -> None:
    """Edit with what is not there yet."""
    for effort in map(Effort, efforts.split(",")):
        for number, name in enumerate(SETTINGS):
            if only in name and not (RUNS / "cold" / f"{number}-{effort.value}-0.json").exists():
                with tempfile.TemporaryDirectory() as cache:
                    environment = {**os.environ, CACHE_VARIABLE: cache}
                    command = [sys.executable, __file__, "--one", name, effort.value]
                    subprocess.run(command, env=environment, check=True)  # noqa: S603


def make_job(architecture: str, size: int) -> Job:
    """Return which classifier and images."""
    classifiers, mean, std = find_data() / "classifiers", MEAN, STD
    if architecture == "torchvision:resnet18":
        weights = RUNS / f"resnet18_{size}.safetensors"
        save_resnet18(weights, size)
    elif architecture == "cifar:resnet20":
        weights = classifiers / "cifar10_resnet20.safetensors"
    else:
        weights, mean, std = classifiers / "imagenet_mobilenetv2_100.safetensors", (0.5,) * 3, (0.5,) * 3
    data = DataPart(source=f"folder:{find_data() / 'imagenet_samples'}", resize=size * 8 // 7, crop=size)
    if size == 32:
        data = DataPart(source=f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}")
    model = ModelPart(architecture=architecture, weights=str(weights), mean=mean, std=std)
    return Job(model=model, data=data, forget=ForgetPart(random=COUNT), seed=SEED)


def edit_one(name: str, effort: Effort) -> dict[str, Any]:
    """Edit, and return what it took and what it changed."""
    architecture, size, strength = SETTINGS[name]
    runtime = Runtime()
    inputs = load_inputs(make_job(architecture, size), runtime)
    classifier, rows, splits = inputs.loaded.classifier, inputs.forget_set, inputs.splits
    others = [number for number, each in enumerate(splits.train.ids) if each not in rows.ids]
    chosen = Subset(splits.test, range(0, 10_000, 10_000 // IMAGES)) if splits.test else Subset(splits.train, others)
    with clock() as taken:
        method = make_method("least-change", {"effort": effort.value})
        edit = unlearn(classifier, rows, method=method, strength=strength, seed=SEED, runtime=runtime)
    before, after = (predict(each, chosen, runtime) for each in (classifier, edit.classifier))
    figures = {"drop": before.accuracy - after.accuracy, "churn": churn(before, after)}
    phases = dict(edit.cost.seconds_by_phase)
    return {**taken, **figures, "phases": phases, "setting": name, "rows": int(edit.achieved.sum())}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        torch.set_num_threads(os.cpu_count() or 1)
        number, effort = list(SETTINGS).index(sys.argv[2]), Effort(sys.argv[3])
        (RUNS / "cold").mkdir(parents=True, exist_ok=True)
        keep(f"cold/{number}-{effort.value}-0", lambda: edit_one(sys.argv[2], effort))
    else:
        main()
