"""A grid in small: the same rows and the same code on a small net and handwritten digits, in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from expunge.base.folders import locked_folder
from expunge.base.settings import describe_settings, merge, nest
from expunge.base.tensors import write_tensors
from expunge.bench.grid import Grid, MethodRow
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.jobs.demo import DigitNet, load_digit_images, write_digit_arrays
from expunge.methods import METHODS
from expunge.models.classifier import Classifier
from expunge.training import RECIPES, train_classifier

WAIT_SECONDS = 120
"""For another command that trains the same classifier."""
ROWS, REQUESTS, STEPS = 4, 2, 2
CLASS = 3
SMALL = {
    "attack.targets_per_row": 2,
    "attack.steps": 2,
    "adversarial_batch": 8,
    "training.epochs": 1,
    "steps": 2,
    "exact.steps": 2,
    "robust.steps": 2,
    "surrogates.inverted": 0,
    "surrogates.procedural": 16,
    "surrogates.mixes": 16,
}


def make_smoke(grid: Grid, folder: Path) -> Grid:
    """Return the grid with one small count and one seed, a few steps a cell, and digits in place of its images.

    The classifier is trained for two epochs only, so that it has mistakes to correct; it and the images are written to
    `folder`, which lies in the folder of all cells, unless they are there.
    """
    with locked_folder(folder, wait_seconds=WAIT_SECONDS):
        if not (folder / "weights.safetensors").exists():
            _write_inputs(folder)
    place = f"{{runs}}/{folder.name}"
    model: dict[str, Any] = {
        "architecture": "expunge.jobs.demo:DigitNet",
        "weights": f"{place}/weights.safetensors",
    }
    model |= {"mean": [0.0], "std": [1.0]}
    data = {"source": f"npz:{place}/images.npz", "retain_rows": 50, "test_rows": 50}
    job = {"model": model, "data": data, "max_steps": STEPS, "minimum_right": 0.0, "device": "cpu"}
    job |= {name: grid.job[name] for name in ("goal", "strength", "audit") if name in grid.job}
    return replace(
        grid,
        title=f"{grid.title} (in small: handwritten digits)",
        counts=(int((load_digit_images().train.labels == CLASS).sum()),) if grid.forget_class else (ROWS,),
        forget_class=str(CLASS) if grid.forget_class else "",
        seeds=(0,),
        job=job,
        stream=replace(grid.stream, requests=min(REQUESTS, grid.stream.requests)),
        methods=_small_rows(sorted(grid.methods, key=lambda row: row.label != grid.reference)),
        classifiers=tuple(replace(one, model={}, data={}) for one in grid.classifiers[:2]),
    )


def _small_rows(rows: Sequence[MethodRow]) -> tuple[MethodRow, ...]:
    """Return the first row of those with one label, or that differ only in counts, seeds or values of settings."""
    labelled: dict[str, MethodRow] = {}
    for row in rows:
        labelled.setdefault(row.label, row)
    alike: dict[tuple[object, ...], MethodRow] = {}
    for row in labelled.values():
        alike.setdefault((row.method, row.goal, row.strength, row.earlier, _names(row.settings)), row)
    return tuple(replace(row, settings=_small_settings(row), counts=None, seeds=None) for row in alike.values())


def _names(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the dotted names of nested settings."""
    return tuple(
        f"{name}.{inner}" if inner else name
        for name, value in settings.items()
        for inner in (_names(value) if isinstance(value, Mapping) else ("",))
    )


def _small_settings(row: MethodRow) -> Mapping[str, Any]:
    """Return the row's settings with small numbers for those that the method has."""
    known = {item.name for item in describe_settings(METHODS[row.method])}
    return merge(row.settings, nest({name: value for name, value in SMALL.items() if name in known}))


def _write_inputs(folder: Path) -> None:
    digits = load_digit_images()
    write_digit_arrays(folder / "images.npz", digits, seed=0)
    recipe = replace(RECIPES["digits"], epochs=2)
    trained = train_classifier(_build, digits.train, recipe, seed=0, context=Context(Runtime(torch.device("cpu"))))
    write_tensors(folder / "weights.safetensors", trained.network.state_dict(), {"format": "pt"})


def _build() -> Classifier:
    return Classifier.wrap(DigitNet(), num_classes=10)
