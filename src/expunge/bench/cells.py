"""The cells of a grid: one job each, in a folder of its own, done when its result is there or in the store."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from expunge.audit.audit_json import read_audit
from expunge.audit.record import AUDIT_FILE, AUDIT_FOLDER, Level
from expunge.base.errors import SettingsError
from expunge.base.settings import from_mapping, merge, to_mapping
from expunge.bench.grid import ClassifierRow, Grid, MethodRow, StreamPart
from expunge.jobs.job import DataPart, ForgetPart, GoalChoice, Job, ModelPart
from expunge.methods import METHODS, make_method
from expunge.methods.protocol import revision_of
from expunge.task.task import StopReason

DATA_VARIABLE = "EXPUNGE_DATA"
DEFAULT_DATA = Path("data")
RESULT, FAILURE, MACHINE, REQUEST = "result.json", "failure.json", "cell.json", "request.json"
WHERE_IT_RUNS = ("device", "devices", "nodes", "memory_gigabytes")
PLAIN = Job(
    model=ModelPart(architecture="none:none"), data=DataPart(source="none:none"), forget=ForgetPart(random=1), method=""
)
"""A job that says nothing of its own."""


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
        key: hash of what was asked, see `make_key`.
        stored: what the store of results has of this cell; see `expunge.bench.store`.
    """

    classifier: str
    goal: str
    label: str
    count: int
    seed: int
    job: Job
    stream: StreamPart
    folder: Path
    key: str
    stored: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the cell in words."""
        words = [self.classifier, self.label, self.goal, f"k = {self.count}", f"seed {self.seed}"]
        return ", ".join(word for word in words if word)

    def result(self) -> dict[str, Any] | None:
        """Return the finished result, None if there is none; one that Ctrl-C ended is none."""
        return self._own_result() or self.stored.get("result")

    @property
    def is_only_stored(self) -> bool:
        """Return whether the store has the result, and the cell's folder has none."""
        return self._own_result() is None and bool(self.stored)

    @property
    def revision(self) -> int:
        """Return the revision of the method that the cell is run with now."""
        return revision_of(METHODS[self.job.method])

    @property
    def is_outdated(self) -> bool:
        """Return whether the cell's folder is of another revision of the method, or of settings that were default."""
        machine, path = self._own_machine() or {}, self.folder / RESULT
        if machine and machine.get("revision", 1) != self.revision:
            return True
        if machine.get("key") != self.key or not path.is_file():
            return False
        told = json.loads(path.read_text("utf-8")).get("settings", {})
        return not settings_agree(told, settings_of(self.job))

    @property
    def is_begun(self) -> bool:
        """Return whether the cell's folder holds a result that counts, or requests of a stream that goes on."""
        if self._own_result() is not None:
            return True
        return not self.is_outdated and any(self.folder.glob(f"request-*/{REQUEST}"))

    @property
    def key_of_folder(self) -> str | None:
        """Return the key of what the cell's folder was begun for; None if it doesn't say, as those of old."""
        return (self._own_machine() or {}).get("key")

    def machine(self) -> dict[str, Any] | None:
        """Return where the cell was run, None if it doesn't say."""
        if self._own_result() is None:
            return self.stored.get("machine")
        return self._own_machine()

    def inputs(self) -> Mapping[str, str]:
        """Return the hashes of what the result, or a stream that goes on, was measured on; none if it doesn't say."""
        result, first = self.result(), self.folder / "request-1" / REQUEST
        if result is None and self.is_begun:
            result = json.loads(first.read_text("utf-8")) if first.is_file() else None
        return dict((result or {}).get("inputs", {}))

    def audit(self) -> Mapping[str, float | None]:
        """Return the figures of the cell's audit by name; none where it has not been audited."""
        if self._own_result() is None:
            return dict(self.stored.get("audit", {}))
        folder = self.folder / AUDIT_FOLDER
        figures = read_audit(folder).figures if (folder / AUDIT_FILE).is_file() else {}
        return {name: figure.value for name, figure in figures.items()}

    def failure(self) -> str | None:
        """Return why the last attempt failed, None if it didn't."""
        path = self.folder / FAILURE
        return str(json.loads(path.read_text("utf-8"))["error"]) if path.is_file() else None

    def _own_result(self) -> dict[str, Any] | None:
        path = self.folder / RESULT
        if not path.is_file() or self.is_outdated or self._lacks_audit():
            return None
        result: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return None if result.get("stop_reason") == StopReason.INTERRUPTED or "unmeasured" in result else result

    def _lacks_audit(self) -> bool:
        """Return whether an audit was asked for and is not there: the cell was ended after its edit."""
        wanted = self.job.audit.level is not Level.NONE and self.stream.requests == 1
        return wanted and not (self.folder / AUDIT_FOLDER / AUDIT_FILE).is_file()

    def _own_machine(self) -> dict[str, Any] | None:
        path = self.folder / MACHINE
        return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def make_cells(grid: Grid, *, name: str, runs: Path) -> tuple[Cell, ...]:
    """Return the cells, all methods of one seed before the next, so that drift of the machine hits all alike.

    Args:
        grid: what is to be run.
        name: of the grid; its cells are folders of runs/name.
        runs: the folder of all results.

    Raises:
        SettingsError: a job has an unknown key or a value that doesn't fit, or two cells share a folder.
    """
    folders = {"data": str(find_data()), "arrays": str(runs / "data"), "runs": str(runs)}
    cells = tuple(_each_cell(grid, folders, runs / name))
    seen: dict[Path, Cell] = {}
    for cell in cells:
        if cell.folder in seen:
            raise SettingsError(
                "label", "names of rows that differ in letters or digits", f"{cell.name} twice: {cell.folder.name}"
            )
        seen[cell.folder] = cell
    return cells


def find_data() -> Path:
    """Return the folder of images and classifiers, {data} in a configuration: EXPUNGE_DATA, or else `data`."""
    return Path(os.environ.get(DATA_VARIABLE, DEFAULT_DATA))


def _each_cell(grid: Grid, folders: Mapping[str, str], folder: Path) -> Iterator[Cell]:
    for seed in grid.seeds:
        for one in grid.classifiers or (ClassifierRow(),):
            for count in grid.counts:
                for row in grid.methods:
                    if not row.is_run(count, seed):
                        continue
                    for goal in grid.goals_of(row):
                        named = goal.value if grid.goals and row.goal is None else ""
                        values = _values(grid, one, row, goal) | _drawn(grid, count, seed)
                        filled = _fill(values, {**folders, "count": str(count), "seed": str(seed)})
                        job = from_mapping(Job, filled, "job.")
                        own = folder / _folder_name((one.label, row.label, named), grid, count, seed)
                        stream = replace(grid.stream, earlier=row.earlier or grid.stream.earlier)
                        key = make_key(from_mapping(Job, values, "job."), stream)
                        yield Cell(one.label, named, row.label, count, seed, job, stream, own, key)


def make_key(job: Job, stream: StreamPart) -> str:
    """Return a hash of what a job asks for beyond the defaults, with folders such as {data} left open.

    What it is run on makes no other job; neither does a setting that was added since, or a default that is written out.
    """
    told = differing(to_mapping(job), to_mapping(PLAIN))
    asked = {name: value for name, value in told.items() if name not in WHERE_IT_RUNS}
    asked["settings"] = differing(settings_of(job), to_mapping(make_method(job.method)))
    text = json.dumps([asked, differing(to_mapping(stream), to_mapping(StreamPart()))], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def settings_of(job: Job) -> dict[str, Any]:
    """Return all settings of a job's method, defaults included."""
    return to_mapping(make_method(job.method, job.settings))


def settings_agree(told: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Return whether a result's settings are these, as far as both tell: a key leaves out what was default."""
    return all(
        settings_agree(told[name], value) if isinstance(value, Mapping) else told[name] == value
        for name, value in settings.items()
        if name in told
    )


def differing(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested values that are not the same in `others`.

    >>> differing({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 2}})
    {'b': {'d': 3}}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        other = others.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            inner = differing(value, other)
            found |= {name: inner} if inner else {}
        elif value != other:
            found[name] = value
    return found


def _values(grid: Grid, one: ClassifierRow, row: MethodRow, goal: GoalChoice) -> dict[str, Any]:
    values = merge(grid.job, {"model": one.model, "data": one.data})
    values |= {"method": row.method, "settings": row.settings, "goal": goal}
    return values | ({"strength": row.strength} if row.strength is not None else {})


def _drawn(grid: Grid, count: int, seed: int) -> dict[str, Any]:
    chosen = {"class_name": grid.forget_class} if grid.forget_class else {"random": count * grid.stream.requests}
    return {"seed": seed, "forget": chosen}


def _fill(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - any TOML value
    """Return `value` with {data}, {arrays}, {runs}, {count} and {seed} replaced in every text."""
    if isinstance(value, Mapping):
        return {name: _fill(item, names) for name, item in value.items()}
    if not isinstance(value, str):
        return value
    for name, filling in names.items():
        value = value.replace(f"{{{name}}}", filling)
    return value


def _folder_name(labels: tuple[str, ...], grid: Grid, count: int, seed: int) -> str:
    slugs = [re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-") for label in labels if label]
    rows = f"{grid.stream.requests}x{count}" if grid.stream.requests > 1 else f"k{count}"
    return "-".join([*slugs, rows, f"s{seed}"])
