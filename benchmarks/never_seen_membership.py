"""Membership attacks on the classifiers of peers_never_seen.toml: are forgotten images told from unseen ones?

    for n in 0 1 2 3 4 5 6 7; do python benchmarks/never_seen_membership.py --shadow $n; done
    python benchmarks/never_seen_membership.py

The first trains eight shadow classifiers in runs/classifiers/cifar10_halves, each on one half of the training images,
as the classifier in question was trained; several can run at a time, and one that was stopped goes on. The second
attacks the edited classifiers that lie in runs/peers_never_seen, and writes README.md and measured.jsonl to
benchmarks/results/never_seen_membership; classifiers that measured.jsonl knows are not attacked again. A GPU trains a
shadow in a minute, and a core attacks a classifier in ten seconds.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from expunge import __version__
from expunge.audit.metrics import auc, shadows
from expunge.audit.metrics.membership import label_probability
from expunge.base.disk import write_text
from expunge.bench import Cell, make_cells, read_grid
from expunge.bench.records import UNEDITED, MeanOverSets
from expunge.compute.bars import Bars
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset
from expunge.jobs.inputs import JobInputs, load_images, load_inputs, model_source
from expunge.jobs.job import Job
from expunge.jobs.pool import PoolPlan, read_pool
from expunge.jobs.train import LeaveOutPart, TrainJob, build_classifier, run_train_job
from expunge.models.classifier import Classifier
from expunge.models.description import WEIGHTS_FILE
from expunge.models.sources import load_classifier
from expunge.task.evaluation import compute_logits, predict_logits
from expunge.training import Recipe

ROOT = Path(__file__).resolve().parent.parent
GRID = ROOT / "benchmarks" / "peers_never_seen.toml"
RUNS = ROOT / "runs"
POOL = RUNS / "classifiers" / "cifar10_halves"
RESULTS = ROOT / "benchmarks" / "results" / "never_seen_membership"
RECIPE = Recipe(epochs=40, batch_size=512, learning_rate=0.4)
SHADOWS = 8


@click.command()
@click.option("--shadow", type=click.IntRange(0, SHADOWS - 1), help="Train this shadow classifier, no more.")
@click.option("--seed", type=int, help="Attack the edits of this forget set only.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the page.")
@click.option("--device", default="auto", show_default=True)
def main(shadow: int | None, seed: int | None, results: Path, device: str) -> None:
    """Train one shadow classifier, or attack what there is."""
    cells = make_cells(read_grid(GRID), name=GRID.stem, runs=RUNS)
    if shadow is not None:
        train_shadow(cells[0].job, shadow, device)
        return
    path = results / "measured.jsonl"
    known = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    lines = {(line["k"], line["seed"], line["method"]): line for line in known}
    for line in attack_all([cell for cell in cells if seed in (None, cell.seed)], known, Runtime.on(device)):
        lines[line["k"], line["seed"], line["method"]] = line
    order = {label: number for number, label in enumerate(dict.fromkeys([UNEDITED, *(cell.label for cell in cells)]))}
    write_page(sorted(lines.values(), key=lambda line: (line["k"], line["seed"], order[line["method"]])), results)


def train_shadow(job: Job, number: int, device: str) -> None:
    """Train a shadow classifier on its half of the training images."""
    model = replace(job.model, weights=None, num_classes=10)
    asked = TrainJob(model=model, data=job.data, recipe=RECIPE, seed=number, device=device)
    images = load_images(job.data, build_classifier(model)).train
    rows = ",".join(map(str, PoolPlan(asked, SHADOWS).left_out(number, images)))
    run_train_job(
        replace(asked, leave_out=LeaveOutPart(rows=rows)), POOL / f"{number:02d}", progress=Bars(), overwrite=False
    )


@dataclass
class Attacker:
    """The shadow classifiers, and what they say of images."""

    inputs: JobInputs
    runtime: Runtime

    @cached_property
    def classifiers(self) -> list[tuple[Classifier, frozenset[str]]]:
        """Return each shadow classifier with the ids that it was trained on."""
        members = read_pool(POOL, self.inputs.splits.train, count=SHADOWS).members
        return [(member.load().to(self.runtime.device), member.trained_on) for member in members]

    @cached_property
    def test(self) -> Images:
        """Return the test images."""
        return self.inputs.splits.test or Subset(self.inputs.splits.train, [])

    @cached_property
    def order(self) -> np.ndarray:
        """Return the test images' numbers in random order; the first half is RMIA's population."""
        return torch.randperm(len(self.test.labels), generator=seeded_generator(0, "rmia population")).numpy()

    @cached_property
    def shadows_on_test(self) -> np.ndarray:
        """Return the logits of all shadow classifiers on the test images."""
        return np.stack([self.on_test(classifier) for classifier, _ in self.classifiers])

    def on_test(self, classifier: Classifier) -> np.ndarray:
        """Return a classifier's logits on the test images."""
        return predict_logits(classifier, self.test, self.runtime).numpy()

    def on_rows(self, classifier: Classifier, rows: ForgetSet) -> np.ndarray:
        """Return a classifier's logits on the rows to forget."""
        return compute_logits(classifier, rows.x.to(self.runtime.device)).cpu().numpy()

    def shadows_on_rows(self, rows: ForgetSet) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits of all shadow classifiers on the rows, and which of them did not see which row."""
        logits = np.stack([self.on_rows(classifier, rows) for classifier, _ in self.classifiers])
        unseen = [[name not in seen for name in rows.ids] for _, seen in self.classifiers]
        return logits, np.array(unseen)

    def attack(
        self, classifier: Classifier, rows: ForgetSet, shadows_on_rows: tuple[np.ndarray, np.ndarray]
    ) -> dict[str, float]:
        """Return the AUC with which RMIA, and the loss alone, tell the rows from the other half of the test images."""
        labels, own = self.test.labels.numpy(), self.on_test(classifier)
        on_rows, row_labels = self.on_rows(classifier, rows), rows.y.numpy()
        population, others = np.array_split(self.order, 2)

        def nobody_saw(images: np.ndarray) -> np.ndarray:
            return np.ones((len(self.classifiers), len(images)), dtype=bool)

        ratios = shadows.likelihood_ratio(
            own[population], labels[population], self.shadows_on_test[:, population], nobody_saw(population)
        )
        mine = shadows.rmia_scores(on_rows, row_labels, *shadows_on_rows, ratios)
        unseen = shadows.rmia_scores(
            own[others], labels[others], self.shadows_on_test[:, others], nobody_saw(others), ratios
        )
        by_loss = [label_probability(on_rows, row_labels), label_probability(own[others], labels[others])]
        return {"rmia": round(auc.exact_area(mine, unseen), 4), "loss": round(auc.exact_area(*by_loss), 4)}


def attack_all(cells: list[Cell], known: list[dict[str, Any]], runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Yield a line for each classifier of the grid that is there, and for the one before each forget set's edits."""
    told = {(line["weights"], line["k"], line["seed"]): line for line in known}
    sets = defaultdict[tuple[int, int], list[Cell]](list)
    for cell in cells:
        if (cell.folder / WEIGHTS_FILE).exists() and cell.result() is not None:
            sets[cell.count, cell.seed].append(cell)
    for (count, seed), members in sets.items():
        inputs = load_inputs(members[0].job, runtime)
        attacker, rows = Attacker(inputs, runtime), inputs.forget_set
        on_rows = attacker.shadows_on_rows(rows)
        before = members[0].job.model.weights
        for label, weights in [
            (UNEDITED, before),
            *((each.label, str(each.folder / WEIGHTS_FILE)) for each in members),
        ]:
            model = replace(members[0].job.model, weights=weights, weights_key=None)
            classifier = load_classifier(model_source(model)).classifier.to(runtime.device)
            hashed = classifier.sha256()
            line = told.get((hashed, count, seed))
            if line is None:
                found = attacker.attack(classifier, rows, on_rows)
                line = {"k": count, "seed": seed, "method": label, **found, "weights": hashed}
                click.echo(json.dumps(line))
            yield {**line, "method": label}


def write_page(lines: list[dict[str, Any]], results: Path) -> None:
    """Write the page, and the figures beside it."""
    found = defaultdict[tuple[int, str], list[dict[str, Any]]](list)
    for line in lines:
        found[line["k"], line["method"]].append(line)
    table = []
    for (k, method), own in sorted(found.items(), key=lambda item: item[0][0]):
        areas = [[line[name] for line in own] for name in ("rmia", "loss")]
        figures = [(MeanOverSets.of(each), MeanOverSets.of([abs(value - 0.5) for value in each])) for each in areas]
        table.append((f"{k:,}", method, len(own), *figures[0], *figures[1]))
    text = f"""# Membership attacks on classifiers that are to be as if they had never seen some rows

`python benchmarks/never_seen_membership.py` wrote this page, with expunge {__version__} and torch {torch.__version__};
measured.jsonl has the same figures, with the hash of each classifier's weights. The classifiers are those of
[peers_never_seen](../peers_never_seen/README.md).

An AUC is how well an attack tells the forgotten rows from 5,000 test images: 1 finds them all, 0.5 is chance, and below
0.5 the rows look less familiar than images that were never seen. `from 0.5` is the distance either way, which is what
an attacker has. RMIA (arXiv 2312.03262; offline, a = 0.33, gamma = 1) has {SHADOWS} shadow classifiers, trained on
halves of the training images as the classifier itself was ({RECIPE.epochs} epochs); each row is compared with those
that had not seen it, and the other 5,000 test images are the population. The loss alone is a weak attack. Means over
the forget sets, ± half a 95% interval (Student's t).

| k | method | forget sets | RMIA, AUC | from 0.5 | by loss, AUC | from 0.5 |
|---|---|---|---|---|---|---|
{chr(10).join("| " + " | ".join(map(str, row)) + " |" for row in table)}
"""
    results.mkdir(parents=True, exist_ok=True)
    write_text(results / "measured.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_text(results / "README.md", text)


if __name__ == "__main__":
    main()
