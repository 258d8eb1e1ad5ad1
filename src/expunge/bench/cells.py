"""The cells of a grid: one job each, in a folder of its own, done when its result is there."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.bench.grid import ClassifierRow, Grid, MethodRow, StreamPart
from expunge.errors import SettingsError
from expunge.jobs.job import GoalChoice, Job
from expunge.settings import from_mapping, merge
from expunge.task import StopReason

DATA_VARIABLE = "EXPUNGE_DATA"
DEFAULT_DATA = Path("../shared/data")
RESULT, FAILURE, MACHINE = "result.json", "failure.json", "cell.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """One job of the grid.

    Args:
        classifier: label of the classifier's row; empty where there is only the job's.
        goal: empty where the grid has one for all.
        label: of the method's row.
        count: rows to forget, of each request.
        seed: draws the forget set, and all else.
        job: what is run.
        stream: how many requests, and what becomes of earlier ones.
        folder: where the result goes.
    """

    classifier: str
    goal: str
    label: str
    count: int
    seed: int
    job: Job
    stream: StreamPart
    folder: Path

    @property
    def name(self) -> str:
        """Return the cell in words."""
        words = [self.classifier, self.label, self.goal, f"k = {self.count}", f"seed {self.seed}"]
        return ", ".join(word for word in words if word)

    def result(self) -> dict[str, Any] | None:
        """Return the finished result, None if there is none; one that Ctrl-C ended is none."""
        path = self.folder / RESULT
        if not path.is_file():
            return None
        result: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return None if result.get("stop_reason") == StopReason.INTERRUPTED else result

    def machine(self) -> dict[str, Any] | None:
        """Return where the cell was run, None if it doesn't say."""
        path = self.folder / MACHINE
        return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None

    def failure(self) -> str | None:
        """Return why the last attempt failed, None if it didn't."""
        path = self.folder / FAILURE
        return str(json.loads(path.read_text("utf-8"))["error"]) if path.is_file() else None


def make_cells(grid: Grid, *, name: str, runs: Path) -> tuple[Cell, ...]:
    """Return the cells, all methods of one seed before the next, so that drift of the machine hits all alike.

    Args:
        grid: what is to be run.
        name: of the grid; its cells are folders of runs/name.
        runs: the folder of all results.

    Raises:
        SettingsError: a job has an unknown key or a value that doesn't fit, or two cells share a folder.
    """
    places = {"data": str(find_data()), "arrays": str(runs / "data"), "runs": str(runs)}
    cells = tuple(_each_cell(grid, places, runs / name))
    seen: dict[Path, Cell] = {}
    for cell in cells:
        if cell.folder in seen:
            raise SettingsError(
                "label", "names of rows that differ in letters or digits", f"{cell.name} twice: {cell.folder.name}"
            )
        seen[cell.folder] = cell
    return cells


def find_data() -> Path:
    """Return the folder of real images and classifiers, which {data} in a configuration stands for."""
    return Path(os.environ.get(DATA_VARIABLE, DEFAULT_DATA))


def _each_cell(grid: Grid, places: Mapping[str, str], folder: Path) -> Iterator[Cell]:
    for seed in grid.seeds:
        for one in grid.classifiers or (ClassifierRow(),):
            for count in grid.counts:
                for row in grid.methods:
                    if count not in (row.counts or grid.counts) or seed not in (row.seeds or grid.seeds):
                        continue
                    for goal in grid.goals_of(row):
                        named = goal.value if grid.goals and row.goal is None else ""
                        job = from_mapping(
                            Job, _values(grid, one, row, goal, places) | _drawn(grid, count, seed), "job."
                        )
                        place = folder / _folder_name((one.label, row.label, named), grid, count, seed)
                        yield Cell(one.label, named, row.label, count, seed, job, grid.stream, place)


def _values(
    grid: Grid, one: ClassifierRow, row: MethodRow, goal: GoalChoice, places: Mapping[str, str]
) -> dict[str, Any]:
    values = merge(grid.job, {"model": one.model, "data": one.data})
    values |= {"method": row.method, "settings": row.settings, "goal": goal}
    values |= {"strength": row.strength} if row.strength is not None else {}
    filled: dict[str, Any] = _fill(values, places)
    return filled


def _drawn(grid: Grid, count: int, seed: int) -> dict[str, Any]:
    return {"seed": seed, "forget": {"random": count * grid.stream.requests}}


def _fill(value: Any, places: Mapping[str, str]) -> Any:  # noqa: ANN401 - any TOML value
    """Return `value` with {data} and {arrays} replaced in every text."""
    if isinstance(value, Mapping):
        return {name: _fill(item, places) for name, item in value.items()}
    if not isinstance(value, str):
        return value
    for name, place in places.items():
        value = value.replace(f"{{{name}}}", place)
    return value


def _folder_name(labels: tuple[str, ...], grid: Grid, count: int, seed: int) -> str:
    slugs = [re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-") for label in labels if label]
    rows = f"{grid.stream.requests}x{count}" if grid.stream.requests > 1 else f"k{count}"
    return "-".join([*slugs, rows, f"s{seed}"])
