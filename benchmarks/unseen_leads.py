"""How often, and by how much, labels lead: on unseen images, on training images, and on altered training images.

    python benchmarks/unseen_leads.py [--first WEIGHTS] [--all WEIGHTS]

The goal `unseen` estimates from the last what the first would be. Takes seven core-minutes; writes README.md and
measured.jsonl to benchmarks/results/unseen_leads. Needs the arrays in runs/data, see benchmarks/README.md.
"""

import json
from pathlib import Path
from typing import Any

import click
import torch
from jaxtyping import Float
from torch import Tensor

from expunge import __version__
from expunge.base.disk import write_text
from expunge.bench.cells import find_data
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.jobs.inputs import load_inputs
from expunge.jobs.job import DataPart, ForgetPart, Job, ModelPart
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Misclassify
from expunge.task.unseen import ALTERATIONS, answer_altered, estimate_leads

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "unseen_leads"
IMAGES, ROWS = 2000, 100
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
CIFAR10 = ("cifar10", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR100 = ("cifar100", (0.507, 0.487, 0.441), (0.267, 0.256, 0.276))
CLASSIFIERS = {
    "CIFAR-10, ResNet-20": ("cifar:resnet20", "cifar10_resnet20", *CIFAR10),
    "CIFAR-10, ResNet-32": ("cifar:resnet32", "cifar10_resnet32", *CIFAR10),
    "CIFAR-10, ResNet-18": ("cifar:resnet18", "cifar10_resnet18", *CIFAR10),
    "CIFAR-100, ResNet-20": ("cifar:resnet20-bottleneck-stem", "cifar100_resnet20", *CIFAR100),
}
FIRST = "CIFAR-10, ResNet-20, trained on the first 10,000 images"
ALL = "CIFAR-10, ResNet-20, trained for 40 epochs"


@click.command()
@click.option("--first", type=click.Path(exists=True, path_type=Path), help=f"Weights of: {FIRST}.")
@click.option("--all", "whole", type=click.Path(exists=True, path_type=Path), help=f"Weights of: {ALL}.")
def main(first: Path | None, whole: Path | None) -> None:
    """Measure all classifiers, and write page and figures."""
    lines = []
    for name, (architecture, weights, arrays, mean, std) in CLASSIFIERS.items():
        path = find_data() / "classifiers" / f"{weights}.safetensors"
        model = ModelPart(architecture=architecture, weights=str(path), mean=mean, std=std)
        lines += measure(name, model, f"npz:{ROOT / 'runs' / 'data' / arrays}.npz")
    for name, own, images in ((ALL, whole, ""), (FIRST, first, "?first=10000")):
        if own is not None:
            model = ModelPart(architecture="cifar:resnet20", weights=str(own), mean=CIFAR10[1], std=CIFAR10[2])
            lines += measure(name, model, f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}{images}")
    write_page(lines)


def measure(name: str, model: ModelPart, source: str) -> list[dict[str, Any]]:
    """Return a line for the unseen images of a classifier, one for its training images, and one for each blend."""
    click.echo(name)
    found = load_inputs(Job(model=model, data=DataPart(source=source), forget=ForgetPart(random=16)), Runtime())
    classifier, train, test = found.loaded.classifier, found.splits.train, found.splits.test or found.splits.train
    own, never = draw_rows(train), draw_rows(test)
    lines = [
        describe(name, "never seen", lead(classifier, never.x, never)),
        describe(name, "seen", lead(classifier, own.x, own)),
    ]
    altered = answer_altered(classifier, own.x, 0, Runtime()).split(IMAGES)
    for how, logits in zip(ALTERATIONS, altered, strict=True):
        lines.append(describe(name, f"seen, {how}", Misclassify().gap(logits, own.y)))
    sets = [own.rows(list(range(start, start + ROWS))) for start in range(0, IMAGES, ROWS)]
    estimated = [estimate_leads(classifier, rows, 0, Runtime()) for rows in sets]
    return [*lines, describe(name, "estimated for them", torch.cat(estimated))]


def draw_rows(images: Images) -> ForgetSet:
    """Return images drawn at random."""
    order = torch.randperm(len(images.labels), generator=seeded_generator(1, "images"))[:IMAGES].tolist()
    return ForgetSet(tuple(map(str, order)), images.load(order), images.labels[order])


def lead(classifier: Classifier, x: Tensor, rows: ForgetSet) -> Float[Tensor, " n"]:
    """Return by how many logits the label of each image leads."""
    return Misclassify().gap(compute_logits(classifier, x), rows.y)


def describe(name: str, images: str, leads: Float[Tensor, " n"]) -> dict[str, Any]:
    """Return what stands in a line of the table."""
    right = 100 * float((leads > 0).double().mean())
    spread = {f"{100 * each:.0f}%": round(float(leads.quantile(each)), 2) for each in QUANTILES}
    return {"classifier": name, "images": images, "right": round(right, 1), "leads": spread}


def write_page(lines: list[dict[str, Any]]) -> None:
    """Write the page, and the figures beside it."""
    heads = ("classifier", "images", "right, %", *(f"lead, {each}" for each in lines[0]["leads"]))
    table = [
        (one["classifier"], one["images"], f"{one['right']:.1f}", *(f"{each:.1f}" for each in one["leads"].values()))
        for one in lines
    ]
    text = f"""# How certain classifiers are of images that they never saw

`python benchmarks/unseen_leads.py` wrote this page, with expunge {__version__} and torch {torch.__version__};
measured.jsonl has the same figures.

The goal `unseen` asks that the label of each forgotten image leads by no more than it would in a classifier that had
never seen it. That is estimated from the classifier and the forget set alone: from images of the forget set that are
altered in each of five ways. Their leads are enlarged by one factor, with which their upper quartile is that of the
images themselves, and dealt out in the order of the images' own leads. This page compares the estimate with images that
were indeed never seen. Leads are in logits, below 0 where another class leads; a column is a quantile.

Each line has {IMAGES:,} images; those that were never seen are test images. *Estimated* is what `unseen` asks for, in
forget sets of {ROWS}. How strongly images are altered was chosen on the other classifiers of this page; the ResNet-18
tests it. Altered images are harder, and images that were never seen are less familiar: that both are answered rightly
about as often is an observation, and no measure of what the classifier remembers.

| {" | ".join(heads)} |
|{"---|" * len(heads)}
{chr(10).join("| " + " | ".join(row) + " |" for row in table)}
"""
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(RESULTS / "README.md", text)
    write_text(RESULTS / "measured.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
