"""Run a grid of (method, number of instances, seed) and write its table to docs/results.

    python benchmarks/compare.py benchmarks/l2ul_cifar10.toml

Each cell is a job of its own under runs/ and is skipped when its result is there, so the command can be stopped and
started again. The real images and classifiers are looked for in EXPUNGE_DATA (default: ../shared/data).
"""

import csv
import io
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from expunge.cli.display import Bars
from expunge.errors import DataError
from expunge.files import write_text
from expunge.job import Job, run_job
from expunge.settings import from_mapping

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"
RESULTS = ROOT / "docs" / "results"
COLUMNS = {
    "goal, %": lambda result: 100 * result["goal_achieved"],
    "robust, %": lambda result: 100 * result["goal_achieved_robust"],
    "rows robust, %": lambda result: 100 * result["robust"]["rows_held"],
    "retain": lambda result: result["after"]["retain"]["accuracy"],
    "retain drop": lambda result: result["before"]["retain"]["accuracy"] - result["after"]["retain"]["accuracy"],
    "retain churn, %": lambda result: result["after"]["retain"]["churn"],
    "test": lambda result: result["after"]["test"]["accuracy"],
    "test drop": lambda result: result["before"]["test"]["accuracy"] - result["after"]["test"]["accuracy"],
    "test churn, %": lambda result: result["after"]["test"]["churn"],
    "steps": lambda result: result["steps"],
    "gradient evaluations": lambda result: result["cost"]["gradient_evaluations"],
    "seconds": lambda result: result["cost"]["seconds"],
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One job of the grid."""

    label: str
    count: int
    seed: int
    job: Job
    folder: Path


def main(config: Path) -> None:
    """Run what is missing of the grid in `config`, then write the table."""
    grid = tomllib.loads(config.read_text("utf-8"))
    cells = list(make_cells(grid, config.stem))
    for number, cell in enumerate(cells, 1):
        if not (cell.folder / "result.json").exists():
            print(f"{number}/{len(cells)}: {cell.label}, k = {cell.count}, seed {cell.seed}", file=sys.stderr)
            run_job(cell.job, cell.folder, progress=Bars(), overwrite=True)
    results = [(cell, read_result(cell.folder)) for cell in cells]
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(RESULTS / f"{config.stem}.md", make_page(config, grid, results))
    write_text(RESULTS / f"{config.stem}.csv", make_csv(results))
    print(make_page(config, grid, results))


def make_cells(grid: dict[str, Any], name: str) -> Iterator[Cell]:
    """Yield the jobs, all methods of one seed before the next, so that drift of the machine hits all alike."""
    places = {"data": str(find_data()), "arrays": str(unpack_arrays())}
    for seed in grid["seeds"]:
        for count in grid["counts"]:
            for row in grid["methods"]:
                if count not in row.get("counts", grid["counts"]) or seed not in row.get("seeds", grid["seeds"]):
                    continue
                values = fill(grid["job"], places)
                values |= {"method": row["method"], "settings": row.get("settings", {}), "seed": seed}
                values |= {"goal": row["goal"]} if "goal" in row else {}
                values |= {"strength": row["strength"]} if "strength" in row else {}
                values["forget"] = {"random": count}
                slug = re.sub(r"[^a-z0-9]+", "-", row["label"].lower()).strip("-")
                folder = RUNS / name / f"{slug}-k{count}-s{seed}"
                yield Cell(row["label"], count, seed, from_mapping(Job, values), folder)


def fill(value: Any, places: dict[str, str]) -> Any:  # noqa: ANN401 - any TOML value
    """Return `value` with {data} and {arrays} replaced in every text."""
    if isinstance(value, dict):
        return {name: fill(item, places) for name, item in value.items()}
    return value.format_map(places) if isinstance(value, str) else value


def find_data() -> Path:
    """Return the folder of real images and classifiers."""
    folder = Path(os.environ.get("EXPUNGE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        raise DataError("EXPUNGE_DATA", "the folder of real images and classifiers", f"{folder}, which is not there")
    return folder


def unpack_arrays() -> Path:
    """Return the folder of unpacked arrays; unpack them the first time."""
    arrays = RUNS / "data"
    subprocess.run([sys.executable, find_data() / "unpack.py", arrays], check=True)  # noqa: S603 - our own script
    return arrays


def read_result(folder: Path) -> dict[str, Any]:
    """Return a finished cell's result."""
    result: dict[str, Any] = json.loads((folder / "result.json").read_text("utf-8"))
    return result


def make_page(config: Path, grid: dict[str, Any], results: Sequence[tuple[Cell, dict[str, Any]]]) -> str:
    """Return the Markdown page: mean and 95% interval over the seeds, and what was run where."""
    columns = find_columns(results)
    lines = [
        f"# {grid['title']}",
        "",
        "Mean ± half a 95% interval (Student's t) over the forget sets, which are drawn at random with seeds from "
        f"{grid['seeds'][0]} on. `goal` is the share of rows for which the goal holds on the exact pixels, `robust` "
        "the share of 32 fresh transformed copies of each row, `rows robust` the share of rows of which at least 95% "
        "of the copies hold. Accuracies are top-1 in percent, drops in points; churn is the share of predictions that "
        "changed. Retain and test images were only measured on.",
        "",
        f"Written by `python benchmarks/compare.py benchmarks/{config.name}`; "
        f"[{config.stem}.csv]({config.stem}.csv) has every cell.",
        "",
        "| k | method | forget sets | " + " | ".join(columns) + " | stopped by |",
        "|---" * (len(columns) + 4) + "|",
    ]
    groups = {(cell.count, cell.label): None for cell, _ in results}
    for count, label in groups:
        chosen = [result for cell, result in results if (cell.count, cell.label) == (count, label)]
        figures = [mean_and_interval([column(result) for result in chosen]) for column in columns.values()]
        reasons = sorted({result["stop_reason"] for result in chosen})
        lines.append(f"| {count} | {label} | {len(chosen)} | " + " | ".join(figures) + f" | {', '.join(reasons)} |")
    before = results[0][1]["before"]
    measured = [
        f"{name} {before[name]['accuracy']:.2f} (n = {before[name]['n']})" for name in before if name != "forget"
    ]
    lines += ["", f"Before: {', '.join(measured)}.", "", *say_prediction(results)]
    lines += [
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {results[0][1]['versions']['torch']}, expunge {results[0][1]['versions']['expunge']}, "
        f"device {results[0][1]['device']}.",
        "",
    ]
    return "\n".join(lines)


def find_columns(results: Sequence[tuple[Cell, dict[str, Any]]]) -> dict[str, Callable[[dict[str, Any]], float]]:
    """Return the columns that every result can fill."""
    sets = set.intersection(*(set(result["before"]) for _, result in results))
    return {name: column for name, column in COLUMNS.items() if name.split()[0] not in {"retain", "test"} - sets}


def say_prediction(results: Sequence[tuple[Cell, dict[str, Any]]]) -> list[str]:
    """Return a paragraph on how well the expected churn predicts the measured one, if any edit expected something."""
    told = [result for _, result in results if result.get("expected") and "test" in result["after"]]
    if len(told) < 3:
        return []
    expected, measured = ([each[0] for each in pairs_of(told)], [each[1] for each in pairs_of(told)])
    correlation = stats.spearmanr(expected, measured).statistic
    return [
        "Expected churn, from probes kept out of the fit, against churn on the test images: Spearman's rank "
        f"correlation {correlation:.2f} over {len(told)} edits; mean {sum(expected) / len(told):.2f} expected, "
        f"{sum(measured) / len(told):.2f} measured.",
        "",
    ]


def pairs_of(results: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """Return expected and measured churn of each result."""
    return [(result["expected"]["churn"], result["after"]["test"]["churn"]) for result in results]


def mean_and_interval(values: Sequence[float]) -> str:
    """Return the mean and half the 95% interval, with as many digits as are worth reading."""
    mean = sum(values) / len(values)
    digits = 0 if mean >= 1000 else 1 if mean >= 100 else 2
    if len(values) < 2:
        return f"{mean:,.{digits}f}"
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return f"{mean:,.{digits}f} ± {half:,.{digits}f}"


def make_csv(results: Sequence[tuple[Cell, dict[str, Any]]]) -> str:
    """Return one line a cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = find_columns(results)
    writer.writerow(["method", "k", "seed", *columns, "stop_reason", "forget_sha256"])
    for cell, result in results:
        figures = [round(column(result), 4) for column in columns.values()]
        reason, forget = result["stop_reason"], result["inputs"]["forget_sha256"]
        writer.writerow([cell.label, cell.count, cell.seed, *figures, reason, forget])
    return stream.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
