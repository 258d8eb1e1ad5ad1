"""What a grid's TOML file says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from expunge.base.errors import SettingsError
from expunge.base.settings import check_settings, from_mapping, merge, nest, setting
from expunge.base.toml import read_toml
from expunge.jobs.job import GoalChoice
from expunge.methods import make_method
from expunge.methods.protocol import Needs, goes_on
from expunge.task.goals import pursued_as
from expunge.task.task import Strength

UNEDITED = "unedited"
"""The line before any edit, of pages with a reference."""
OFFSET = "seed_offset"
"""The setting of a row that is the reference once more, with another seed of the training and the same forget sets."""


class Earlier(StrEnum):
    """What a request in a stream does about the rows of earlier ones."""

    LEFT = "left"
    """Nothing, as in the paper."""
    REPAIRED = "repaired"
    """Those that came back are forgotten again together with the new rows."""
    HELD = "held"
    """All stay forgotten, by their images; for a method that goes on from earlier edits."""
    KEPT = "kept"
    """All stay forgotten, by keepers in place of their images; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPart:
    """Requests one after another, each on the classifier that the one before left."""

    requests: int = setting(1, "requests in a cell, k rows each", at_least=1)
    earlier: Earlier = setting(Earlier.LEFT, "what becomes of rows that came back")


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """One method of the grid, with what differs from `job` for it.

    Args:
        label: what the tables call it.
        recipe: a file that `expunge tune` wrote, as seen from the grid's folder; its settings lie below `settings`.
        sweep: settings by dotted name with several values each; every value is a row of its own.
        counts, seeds: those of the grid that it is run with; None for all. In the file, seeds may be a table from
            counts to lists of them, which makes a row of each count.
    """

    label: str = setting("", "what the tables call it")
    method: str = setting("", "see `expunge methods`")
    recipe: str = setting("", "file of settings that `expunge tune` wrote")
    settings: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, Any] = field(default_factory=dict)
    goal: GoalChoice | None = setting(None, "in place of the job's")
    strength: Strength | None = setting(None, "in place of the job's")
    earlier: Earlier | None = setting(None, "in place of the stream's")
    counts: tuple[int, ...] | None = setting(None, "in place of all counts")
    seeds: tuple[int, ...] | None = setting(None, "in place of all seeds")

    def is_run(self, count: int, seed: int) -> bool:
        """Return whether the row has a cell of this count and seed of the grid."""
        return (self.counts is None or count in self.counts) and (self.seeds is None or seed in self.seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRow:
    """One classifier with its images: tables that go over those of the job."""

    label: str = setting("", "what the tables call it")
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All that is to be run: (classifier and data) x goal x count x method x seed.

    Args:
        title: of the page of results.
        counts: k, the numbers of rows to forget.
        forget_class: name or number of a class that is forgotten as a whole; `counts` then says how many training
            images it has.
        seeds: each draws a forget set of its own.
        goals: several goals for every method; empty for the one of the job or of the method's row.
        retain_data: whether methods that need the rest of the training data may have it.
        notes: paragraphs under the table, such as why a method does worse here than its authors say.
        reference: label of the method that the others should come close to, such as retraining; empty for none.
        job: as a job.toml has it, without forget, method, settings and seed.
        stream: single requests, or streams of them.
        methods, classifiers: rows; no classifiers means the job's.
    """

    title: str = setting("", "of the page of results")
    counts: tuple[int, ...] = setting((), "numbers of rows to forget")
    forget_class: str = setting("", "a class that is forgotten as a whole")
    seeds: tuple[int, ...] = setting((), "each draws a forget set")
    goals: tuple[GoalChoice, ...] = setting((), "several goals for every method")
    retain_data: bool = setting(True, "whether methods may have the rest of the training data")
    notes: tuple[str, ...] = setting((), "paragraphs under the table")
    reference: str = setting("", "label of the method that the others should come close to")
    job: Mapping[str, Any] = field(default_factory=dict)
    stream: StreamPart = field(default_factory=StreamPart)
    methods: tuple[MethodRow, ...] = ()
    classifiers: tuple[ClassifierRow, ...] = ()

    def __post_init__(self) -> None:
        check_settings(self.stream)
        for name, values, least in (("counts", self.counts, 1), ("seeds", self.seeds, 0)):
            if not values or min(values) < least:
                raise SettingsError(name, f"numbers of at least {least}", str(list(values)))
            _check_once(name, values)
        if not self.title:
            raise SettingsError("title", "what the page of results is called", "nothing")
        if not self.methods:
            raise SettingsError("methods", "at least one [[methods]] table", "none")
        for row in self.methods:
            self._check_method(row)
        self._check_labels()
        self._check_reference()
        if self.forget_class and (len(self.counts) > 1 or self.stream.requests > 1):
            wanted = "one count and single requests with forget_class"
            raise SettingsError("counts", wanted, f"{list(self.counts)}, {self.stream.requests} in a stream")
        for number, one in enumerate(self.classifiers):
            if not one.label:
                raise SettingsError(f"classifiers[{number}].label", "a name", "none")

    def _check_method(self, row: MethodRow) -> None:
        if not row.label or not row.method:
            raise SettingsError("methods", "a label and a method in each table", f"{row.label!r} and {row.method!r}")
        method = make_method(row.method, row.settings)
        if method.needs is Needs.FORGET_AND_RETAIN and not self.retain_data:
            raise SettingsError(
                f"methods: {row.label}", "a method that needs only classifier and forget set", method.name,
                "this grid says retain_data = false",
            )  # fmt: skip
        earlier = row.earlier or self.stream.earlier
        if earlier in (Earlier.HELD, Earlier.KEPT) and not goes_on(method):
            wanted = "a method that goes on from earlier edits, such as least-change"
            raise SettingsError(f"methods: {row.label}: earlier", wanted, method.name, "say left or repaired")
        for goal in self.goals_of(row):
            if goal is not GoalChoice.AUTO and pursued_as(goal.value) not in method.goals:
                raise SettingsError(f"methods: {row.label}", f"goal {' or '.join(method.goals)}", goal.value)
        for name, given, known in (("counts", row.counts, self.counts), ("seeds", row.seeds, self.seeds)):
            _check_once(f"methods: {row.label}: {name}", given or ())
            beyond = set(given or ()) - set(known)
            if beyond:
                raise SettingsError(f"methods: {row.label}: {name}", f"some of the grid's {list(known)}", str(beyond))

    def _check_labels(self) -> None:
        """Check that rows of one label, whose cells stand in one line of the tables, do the same."""
        known: dict[str, MethodRow] = {}
        for row in self.methods:
            first = known.setdefault(row.label, row)
            for name in ("method", "goal", "strength", "earlier"):
                one, other = getattr(first, name), getattr(row, name)
                if one != other:
                    wanted = f"{one or 'none'} in each row of a label"
                    raise SettingsError(f"methods: {row.label}: {name}", wanted, str(other or "none"))

    def _check_reference(self) -> None:
        labels = [row.label for row in self.methods]
        if self.reference and self.reference not in labels:
            raise SettingsError("reference", f"the label of a method: {', '.join(labels)}", self.reference)
        if self.reference and UNEDITED in labels:
            raise SettingsError("methods", f"other labels: {UNEDITED!r} is the line before any edit", UNEDITED)
        if self.reference and self.stream.requests > 1:
            raise SettingsError("reference", "single requests", f"{self.stream.requests} in a stream")

    def goals_of(self, row: MethodRow) -> tuple[GoalChoice, ...]:
        """Return the goals that a method's row is run with."""
        if row.goal is not None:
            return (row.goal,)
        return self.goals or (GoalChoice(self.job.get("goal", GoalChoice.AUTO)),)


def read_grid(path: Path) -> Grid:
    """Return the grid in a TOML file.

    Raises:
        SettingsError: it cannot be read, is no TOML, has an unknown key or method, or a value that doesn't fit.
    """
    values = read_toml(path)
    try:
        methods = tuple(
            swept
            for number, table in enumerate(_tables(values, "methods"))
            for row in _by_count(table, f"methods[{number}].")
            for swept in _sweep(_with_recipe(from_mapping(MethodRow, row, f"methods[{number}]."), path.parent))
        )
        rows = enumerate(_tables(values, "classifiers"))
        classifiers = tuple(from_mapping(ClassifierRow, row, f"classifiers[{number}].") for number, row in rows)
        _refuse_cell_keys(values.get("job", {}))
        return from_mapping(Grid, {**values, "methods": methods, "classifiers": classifiers})
    except SettingsError as error:
        raise SettingsError(
            str(path), "a grid as docs/benchmarks.md describes it", f"an error in it: {error}"
        ) from error


def _check_once(name: str, values: Sequence[int]) -> None:
    if len(set(values)) < len(values):
        raise SettingsError(name, "each number once", str(list(values)))


def _by_count(table: Mapping[str, Any], prefix: str) -> Iterator[Mapping[str, Any]]:
    """Yield a table for each count, if the seeds are a table by counts; otherwise the table as it is."""
    seeds = table.get("seeds")
    if not isinstance(seeds, Mapping):
        yield table
        return
    if "counts" in table:
        raise SettingsError(f"{prefix}counts", "none beside a table of seeds, which names them", str(table["counts"]))
    if not seeds or not all(count.isdecimal() for count in seeds):
        raise SettingsError(f"{prefix}seeds", "a table from counts to lists of seeds", str(dict(seeds)))
    for count, drawn in seeds.items():
        yield {**table, "counts": [int(count)], "seeds": drawn}


def _with_recipe(row: MethodRow, folder: Path) -> MethodRow:
    """Return the row with the settings of its recipe below its own."""
    if not row.recipe:
        return row
    recipe = read_toml(folder / row.recipe)
    if recipe.get("method") != row.method:
        raise SettingsError(f"methods: {row.label}: recipe", f"a recipe of {row.method}", str(recipe.get("method")))
    settings = recipe.get("settings", {})
    if not isinstance(settings, Mapping):
        raise SettingsError(f"{row.recipe}: settings", "a table [settings]", type(settings).__name__)
    return replace(row, settings=merge(settings, row.settings))


def _tables(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    tables = values.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise SettingsError(name, f"[[{name}]] tables", type(tables).__name__)
    return tables


def _sweep(row: MethodRow) -> Iterator[MethodRow]:
    if not row.sweep:
        yield row
    for name, values in row.sweep.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(f"sweep.{name}", "a list of values (put dotted names in quotes)", repr(values))
        for value in values:
            settings = merge(row.settings, nest({name: value}))
            yield replace(row, label=f"{row.label}, {name} {value}", settings=settings, sweep={})


def _refuse_cell_keys(job: object) -> None:
    if not isinstance(job, Mapping):
        raise SettingsError("job", "a table [job]", type(job).__name__)
    given = [name for name in ("forget", "method", "settings", "seed") if name in job]
    if given:
        raise SettingsError(f"job.{given[0]}", "counts, methods and seeds of the grid", "one for all cells")
