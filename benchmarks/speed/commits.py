"""Edits by an earlier commit of the package and by this one, in turn.

    python benchmarks/speed/commits.py BEFORE [--sets 3] [--only robust]

Measures seconds, and how many other images are answered otherwise. BEFORE is a folder with the earlier commit checked
out. Each edit runs in a process of its own on one thread: 16 images to forget, inverted images in the cache. ResNet-18
has random filters, and a head that is fitted to the photographs, since no trained one is at hand. About an hour on one
core; every edit that is done is kept.
"""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from expunge import Classifier, Limits, Strength, unlearn
from expunge.jobs.inputs import load_inputs
from expunge.jobs.job import DataPart, ForgetPart, Job, ModelPart

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "speed"
COUNT, IMAGES, BATCH, INVERTED_UP_TO = 16, 2000, 8, 64
DATA = Path(os.environ.get("EXPUNGE_DATA", "data"))
RESNET18 = RUNS / "resnet18_224.safetensors"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR10: dict[str, Any] = {"source": f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}"}
PHOTOGRAPHS: dict[str, Any] = {"source": f"folder:{DATA / 'imagenet_samples'}", "resize": 256, "crop": 224}
MODELS: dict[str, tuple[str, Path, tuple[tuple[float, ...], tuple[float, ...]], dict[str, Any]]] = {
    "ResNet-20": ("cifar:resnet20", DATA / "classifiers" / "cifar10_resnet20.safetensors", IMAGENET, CIFAR10),
    "MobileNetV2": (
        "timm:mobilenetv2_100?pad_type=same",
        DATA / "classifiers" / "imagenet_mobilenetv2_100.safetensors",
        ((0.5,) * 3, (0.5,) * 3),
        PHOTOGRAPHS,
    ),
    "ResNet-18": ("torchvision:resnet18", RESNET18, IMAGENET, PHOTOGRAPHS),
}
SETTINGS = {
    "exact, ResNet-20, 32 px": ("ResNet-20", "exact"),
    "robust, ResNet-20, 32 px": ("ResNet-20", "robust"),
    "exact, MobileNetV2, 224 px": ("MobileNetV2", "exact"),
    "exact, ResNet-18, 224 px": ("ResNet-18", "exact"),
}


@click.command()
@click.argument("before", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--sets", default=3, show_default=True, help="Forget sets of each setting.")
@click.option("--only", default="", help="Settings whose names hold this.")
def main(before: Path, sets: int, only: str) -> None:
    """Edit with both commits, whatever is not there yet."""
    (RUNS / "commits").mkdir(parents=True, exist_ok=True)
    import_module("setting").save_resnet18(RESNET18, 224)  # that module is of this commit alone
    for seed in range(sets):
        for number, name in enumerate(SETTINGS):
            for commit, folder in (("before", before), ("now", ROOT)):
                path = RUNS / "commits" / f"{number}-{commit}-{seed}.json"
                if only in name and not path.exists():
                    click.echo(f"{name}, {commit}, set {seed}")
                    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
                    command = [sys.executable, __file__, "--one", name, str(seed), str(path)]
                    subprocess.run(command, env=environment, check=True)  # noqa: S603


def edit_one(name: str, seed: int, path: Path) -> None:
    """Edit with the package that is in the path, and write what it took and what it changed."""
    model, strength = SETTINGS[name]
    architecture, weights, (mean, std), source = MODELS[model]
    try:
        runtime = import_module("expunge.compute.runtime").Runtime()
    except ModuleNotFoundError:  # before the package had folders
        runtime = import_module("expunge.runtime").Runtime()
    part = ModelPart(architecture=architecture, weights=str(weights), mean=mean, std=std)
    wanted = Job(model=part, data=DataPart(**source), forget=ForgetPart(random=COUNT), seed=seed)
    found = load_inputs(wanted, runtime)
    classifier, rows, splits = found.loaded.classifier, found.forget_set, found.splits
    others = [number for number, each in enumerate(splits.train.ids) if each not in rows.ids]
    x = splits.test.load(range(0, 10_000, 10_000 // IMAGES)) if splits.test else splits.train.load(others[::2])
    settings: dict[str, Any] = {"method": "least-change", "strength": Strength(strength), "seed": seed}
    if find_spec("expunge.surrogates"):  # before there were efforts, all edits took this one
        settings["effort"] = "thorough"
    if x.shape[-1] <= INVERTED_UP_TO:
        unlearn(classifier, rows, limits=Limits(steps=1), **settings)  # makes inverted images, unless they are there
    used, started = time.process_time(), time.perf_counter()
    edit = unlearn(classifier, rows, **settings)
    taken = {"seconds": time.process_time() - used, "wall_seconds": time.perf_counter() - started}
    changed = (answer(classifier, x) != answer(edit.classifier, x)).double().mean().item()
    figures = {"churn": 100 * changed, "steps": edit.steps, "stop_reason": edit.stop_reason.value}
    figures |= {"rows": int(edit.achieved.sum()), "images": len(x), "setting": name, "seed": seed}
    path.write_text(json.dumps({**taken, **figures}) + "\n", encoding="utf-8")


def answer(classifier: Classifier, x: Tensor) -> Tensor:
    """Return the classes of images."""
    classifier.module.eval()
    with torch.no_grad():
        return torch.cat([classifier(part).argmax(dim=1) for part in x.split(BATCH)])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        edit_one(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
