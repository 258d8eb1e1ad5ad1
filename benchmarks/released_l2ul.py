"""L2UL as its authors' released code runs it, and their baseline: test accuracy left on CIFAR-10.

Reproduces: negative gradient, ADV and ADV+IMP of Cha et al. 2024 (arXiv 2301.11578), CIFAR-10, settings as released
Command:    python benchmarks/released_l2ul.py --classifier resnet20 --seeds 0 1 2 3 4
            python benchmarks/released_l2ul.py --classifier resnet18 --bfloat16 all
            python benchmarks/released_l2ul.py --page
Needs:      EXPUNGE_DATA (default: data/), and the arrays in runs/data (docs/benchmarks.md)
Time:       on one core with bfloat16 instructions, 16 rows: ResNet-20 6 minutes a seed, ResNet-18 90

The rows are those that the released code draws: the first of a permutation by torch's generator with the seed. Each
finished run is a line of runs/released_l2ul.jsonl, and is not done again. Last, the means over the seeds are printed.
results/released_l2ul/measured.jsonl has such runs beside those of the authors' own functions, which are not part of
this repository, in their own loop on the same classifiers and images. `--page` writes the page from it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch

from expunge import ForgetSet, make_method, unlearn
from expunge.base.settings import to_mapping
from expunge.bench.cells import find_data
from expunge.compute.bars import Bars
from expunge.compute.runtime import Runtime
from expunge.data import DataRequest, DataSplits, load_data
from expunge.models.pixels import Normalisation
from expunge.models.sources import LoadedClassifier, ModelSource, load_classifier
from expunge.task.evaluation import predict

ROOT = Path(__file__).resolve().parent.parent
NORMALISATION = {
    "resnet20": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "resnet18": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}
RESULTS = ROOT / "benchmarks" / "results" / "released_l2ul"
TEXT = """# L2UL as released, and ours

Written by `python benchmarks/released_l2ul.py --page` from [measured.jsonl](measured.jsonl). Test accuracy that is left
of CIFAR-10, in percent, when no image of the forget set is right any more (of 91.7 with ResNet-20, 94.2 with
ResNet-18). Where a limit ended the run before, as about 1,500 steps do with more than 16 images, the share of images
that were wrong by then follows in brackets; theirs is the last state then, ours the best. The authors' functions and
ours forget the same images, the first of a permutation with the seed; on ResNet-20 the 64 are those of
[single_cifar10](../single_cifar10/README.md). `ADV` and `ADV+IMP` are `l2ul-faithful` without and with importance. Both
loops are chaotic: two devices, or other numbers in the attack, end several points apart with one and the same code. The
mean is over the seeds that both have.

| classifier | images | case | seeds | released, mean | ours, mean | released, each | ours, each |
|---|---|---|---|---|---|---|---|
"""
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "negative gradient": ("negative-gradient", {}),
    "ADV": ("l2ul-faithful", {"importance_weight": 0}),
    "ADV+IMP": ("l2ul-faithful", {}),
}
REDUCED: dict[str, dict[str, Any]] = {
    "none": {},
    "attack": {"attack": {"precision": "bfloat16"}},
    "all": {"attack": {"precision": "bfloat16"}, "descent": {"precision": "bfloat16"}},
}


def load(classifier: str) -> tuple[LoadedClassifier, DataSplits]:
    """Return one of the shared classifiers, and CIFAR-10."""
    weights = find_data() / "classifiers" / f"cifar10_{classifier}.safetensors"
    loaded = load_classifier(ModelSource(f"cifar:{classifier}", weights, 10, Normalisation(*NORMALISATION[classifier])))
    request = DataRequest(loaded.preprocessing, num_classes=loaded.classifier.num_classes)
    return loaded, load_data(f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}", request)


def draw_rows(splits: DataSplits, count: int, seed: int) -> ForgetSet:
    """Return the training rows that the released code forgets with this seed."""
    order = torch.randperm(len(splits.train.labels), generator=torch.Generator().manual_seed(seed))
    rows = order[:count].tolist()
    return ForgetSet(tuple(splits.train.ids[row] for row in rows), splits.train.load(rows), splits.train.labels[rows])


def measure(options: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what each run that is not done yet leaves of the classifier."""
    loaded, splits = load(options.classifier)
    assert splits.test is not None  # noqa: S101 - the file holds test images
    for seed, case in product(options.seeds, options.cases):
        name, settings = CASES[case]
        method = make_method(name, {**settings, **keep_settings(REDUCED[options.bfloat16], name)})
        asked = {
            "classifier": options.classifier,
            "rows": options.rows,
            "seed": seed,
            "case": case,
            "settings": to_mapping(method),
        }
        if any(asked.items() <= line.items() for line in done):
            continue
        started = time.perf_counter()
        rows = draw_rows(splits, options.rows, seed)
        runtime = Runtime.on(progress=Bars())
        edit = unlearn(loaded.classifier.to(runtime.device), rows, method=method, seed=seed, runtime=runtime)
        yield {
            **asked,
            "test": predict(edit.classifier, splits.test).accuracy,
            "steps": edit.steps,
            "forgotten": 100 * edit.goal_achieved,
            "stop": edit.stop_reason.value,
            "seconds": time.perf_counter() - started,
        }


def keep_settings(settings: dict[str, Any], method: str) -> dict[str, Any]:
    """Return those of the settings that the method has."""
    own = to_mapping(make_method(method))
    return {name: value for name, value in settings.items() if name in own}


def print_means(options: argparse.Namespace, done: list[dict[str, Any]]) -> None:
    """Print the mean test accuracy of each case, and its seeds' own."""
    for case in options.cases:
        found = {
            line["seed"]: line["test"]
            for line in done
            if (line["classifier"], line["rows"], line["case"]) == (options.classifier, options.rows, case)
        }
        tests = [found[seed] for seed in options.seeds if seed in found]
        print(f"{case:>18}: {statistics.mean(tests):.1f}  ({', '.join(f'{test:.1f}' for test in tests)})")


def make_page(lines: list[dict[str, Any]]) -> str:
    """Return the page: a row for each classifier, size and case; a seed's test accuracy is the mean over devices."""
    rows = []
    for classifier, count, case in product(NORMALISATION, sorted({line["rows"] for line in lines}), CASES):
        asked = (classifier, count, case)
        own = [line for line in lines if (line["classifier"], line["rows"], line["case"]) == asked]
        found = {code: gather_seeds(line for line in own if line["code"] == code) for code in ("released", "ours")}
        seeds = sorted(set(found["released"]) & set(found["ours"])) or sorted(found["released"])
        if seeds:
            each = [[ends[seed] for seed in seeds if seed in ends] for ends in found.values()]
            means = [f"{statistics.mean(end.test for end in ends):.1f}" if ends else "-" for ends in each]
            listed = [", ".join(map(str, ends)) or "-" for ends in each]
            rows.append(f"| {' | '.join([*map(str, asked), ', '.join(map(str, seeds)), *means, *listed])} |\n")
    return TEXT + "".join(rows)


class End(NamedTuple):
    """What is left at the end: test accuracy and the images that are wrong, both in percent."""

    test: float
    forgotten: float

    def __str__(self) -> str:
        return f"{self.test:.1f}" + (f" ({self.forgotten:.0f}%)" if self.forgotten < 100 else "")


def gather_seeds(lines: Iterable[dict[str, Any]]) -> dict[int, End]:
    """Return what is left with each seed."""
    found: dict[int, list[tuple[float, float]]] = {}
    for line in lines:
        found.setdefault(line["seed"], []).append((line["test"], line.get("forgotten", 100.0)))
    return {seed: End(*map(statistics.mean, zip(*ends, strict=True))) for seed, ends in found.items()}


def main() -> None:
    """Measure what is missing, a line each, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", choices=NORMALISATION, default="resnet20")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--bfloat16", choices=REDUCED, default="none", help="what computes in bfloat16")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "released_l2ul.jsonl")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page of results")
    options = parser.parse_args()
    if options.page:
        measured = [json.loads(line) for line in (RESULTS / "measured.jsonl").read_text("utf-8").splitlines()]
        (RESULTS / "README.md").write_text(make_page(measured), "utf-8")
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.touch()
    done = [json.loads(line) for line in options.out.read_text("utf-8").splitlines()]
    for line in measure(options, done):
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        done.append(line)
        print(f"{line['classifier']} {line['case']}, seed {line['seed']}: {line['test']:.2f} in {line['steps']} steps")
    print_means(options, done)


if __name__ == "__main__":
    main()
