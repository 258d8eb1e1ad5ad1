"""Membership attacks on the classifiers of peers_never_seen.toml: are forgotten images told from unseen ones?

    for n in 0 1 2 3; do python benchmarks/never_seen_membership.py --shadow $n; done
    python benchmarks/never_seen_membership.py

The first trains four shadow classifiers in runs/classifiers/cifar10_halves, each on one half of the training images,
as the classifier in question was trained, but in bfloat16; several can run at a time, and one that was stopped goes on.
The second attacks the edited classifiers that lie in runs/peers_never_seen, and writes README.md and measured.jsonl to
benchmarks/results/never_seen_membership; classifiers that measured.jsonl knows are not attacked again. A core trains a
shadow in 35 minutes, and attacks a classifier in ten seconds.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from expunge import __version__
from expunge.audit.collect.collected import Shadows
from expunge.audit.collect.pools import TEST_ROWS, predict_shadows
from expunge.audit.metrics import auc
from expunge.audit.metrics.membership import label_probability
from expunge.audit.metrics.shadows import Answered, rmia_scores, unseen_as_rows
from expunge.base.disk import write_text
from expunge.bench import Cell, make_cells, read_grid
from expunge.bench.grid import UNEDITED
from expunge.bench.records import MeanOverSets
from expunge.compute.bars import Bars
from expunge.compute.runtime import Precision, Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset
from expunge.jobs.inputs import JobInputs, load_images, load_inputs, model_source
from expunge.jobs.job import Job
from expunge.jobs.pool import PoolPlan, read_pool, train_member
from expunge.jobs.train import TrainJob, build_classifier
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
RECIPE = Recipe(epochs=40, batch_size=512, learning_rate=0.4, precision=Precision.BFLOAT16)
SHADOWS = 4


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
    asked = TrainJob(model=model, data=job.data, recipe=RECIPE, device=device)
    images = load_images(job.data, build_classifier(model)).train
    train_member(POOL, PoolPlan(asked, SHADOWS), number, images, progress=Bars())


@dataclass(frozen=True)
class Attacker:
    """What shadow classifiers say of forgotten rows and of test images; attacks classifiers with it.

    Args:
        rows: the forgotten rows.
        test: the test images that the shadow classifiers were asked.
        shadows: what they said.
        runtime: device and progress.
    """

    rows: ForgetSet
    test: Images
    shadows: Shadows
    runtime: Runtime

    @classmethod
    def of(cls, inputs: JobInputs, runtime: Runtime) -> "Attacker":
        """Ask the shadow classifiers."""
        pool = read_pool(POOL, inputs.splits.train, count=SHADOWS)
        if len(pool.members) < SHADOWS:
            raise click.ClickException(f"{POOL}: {len(pool.members)} of {SHADOWS} shadow classifiers are trained")
        test = inputs.splits.test or Subset(inputs.splits.train, [])
        shadows = predict_shadows(pool, test, inputs.forget_set, None, seed=0, runtime=runtime)
        return cls(inputs.forget_set, Subset(test, shadows.test_rows.tolist()), shadows, runtime)

    def attack(self, classifier: Classifier) -> dict[str, float]:
        """Return the AUC with which RMIA, and the loss alone, tell the rows from half of the test images."""
        on_rows = compute_logits(classifier, self.rows.x, self.runtime.sharing).cpu().numpy()
        on_test = predict_logits(classifier, self.test, self.runtime).numpy()
        compared = unseen_as_rows(self.shadows.seen, len(on_test), np.random.default_rng(0))
        rows = Answered(on_rows, self.rows.y.numpy(), self.shadows.forget, ~self.shadows.seen)
        images = Answered(on_test, self.test.labels.numpy(), self.shadows.test, compared)
        order = torch.randperm(len(on_test), generator=seeded_generator(0, "rmia population")).numpy()
        population, others = (images.images(half) for half in np.array_split(order, 2))
        by_loss = [label_probability(each.asked, each.labels) for each in (rows, others)]
        areas = {"rmia": rmia_scores(rows, others, population), "loss": by_loss}
        return {name: round(auc.exact_area(*scores), 4) for name, scores in areas.items()}


def attack_all(cells: list[Cell], known: list[dict[str, Any]], runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Yield a line for each classifier of the grid that is there, and for the one before each forget set's edits."""
    told = {(line["weights"], line["k"], line["seed"]): line for line in known}
    sets = defaultdict[tuple[int, int], list[Cell]](list)
    for cell in cells:
        if (cell.folder / WEIGHTS_FILE).exists() and cell.result() is not None:
            sets[cell.count, cell.seed].append(cell)
    for (count, seed), members in sets.items():
        inputs = load_inputs(members[0].job, runtime)
        attacker = Attacker.of(inputs, runtime)
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
                found = attacker.attack(classifier)
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
        areas = [[100 * line[name] for line in own] for name in ("rmia", "loss")]
        figures = [(MeanOverSets.of(each), MeanOverSets.of([abs(value - 50) for value in each])) for each in areas]
        table.append((f"{k:,}", method, len(own), *figures[0], *figures[1]))
    text = f"""# Membership attacks on classifiers that are to be as if they had never seen some rows

`python benchmarks/never_seen_membership.py` wrote this page, with expunge {__version__} and torch {torch.__version__};
measured.jsonl has the same figures, with the hash of each classifier's weights. The classifiers are those of
[peers_never_seen](../peers_never_seen/README.md), with the same settings and seeds; those of the peers were edited anew
on a processor, where that page has most of a GPU. What `retrain` has, which never saw the rows, is what rows are worth
that happen to be easier or harder than the test images.

An AUC is how well an attack tells the forgotten rows from {TEST_ROWS // 2:,} test images: 100% finds them all, 50%
is chance, and below it the rows look less familiar than images that were never seen. `from 50%` is the distance either
way, which is what an attacker has. RMIA (arXiv 2312.03262; offline, a = 0.33, gamma = 1) has {SHADOWS} shadow
classifiers, trained on halves of the training images as the classifier itself was ({RECIPE.epochs} epochs), but in
bfloat16; each row is compared with those that had not seen it, each test image with as many, and
{TEST_ROWS // 2:,} other test images are the population. The loss alone is
a weak attack. Forget sets 0 and 1 of 500 rows, and 0 of 5,000, are of one classifier, the others of a second one, each
attacked with shadow classifiers that were trained by the same command. Means over the forget sets, ± half a 95%
interval (Student's t).

| k | method | forget sets | RMIA, AUC, % | from 50% | by loss, AUC, % | from 50% |
|---|---|---|---|---|---|---|
{chr(10).join("| " + " | ".join(map(str, row)) + " |" for row in table)}
"""
    results.mkdir(parents=True, exist_ok=True)
    write_text(results / "measured.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_text(results / "README.md", text)


if __name__ == "__main__":
    main()
