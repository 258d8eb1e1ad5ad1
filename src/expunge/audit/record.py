"""An audit as its files hold it; read without torch, so that reports need none."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from expunge.base.arrays import read_arrays
from expunge.base.errors import DataError
from expunge.task.outcome import Outcome
from expunge.task.words import GoalWords, goal_words, part_words

AUDIT_FOLDER = "audit"
"""Of an audit within the folder of the run that it speaks of."""
AUDIT_FILE = "audit.json"
REPORT_FILE = "report.html"
SLICES_FILE = "slices.npz"
HEADLINES = ("goal", "cost", "outsider", "time")
WHOLE = 100
WHEN = ("before", "after")
"""Which classifier a value speaks of: the one before the edit, or the one after."""

Row = Mapping[str, str]
"""A row of a table, as text by column."""


class Level(StrEnum):
    """How much is measured."""

    NONE = "none"
    QUICK = "quick"
    """What follows from answers before and after, copies of the rows, and the weights."""
    FULL = "full"
    """All that the data and the pools of other classifiers allow."""


class Direction(StrEnum):
    """Which way a figure is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEAR = "near"
    """The nearer to the target, the better; both sides are a trace."""
    NONE = "none"
    """It describes, and is neither good nor bad."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an audit, with what it should be.

    Args:
        title: what it is, in a few plain words.
        value: the figure; None if it is not defined, and then `reason` says why.
        unit: "percent", "points" (of percent), "AUC" (0..1), "share" (0..1), "nats", "seconds", "bytes", "steps",
            "rows", "L2" or "" for a plain number.
        direction: which way is better.
        target: what it should be; None where it only describes.
        measured_on: images and classifiers that it was computed from.
        flagged: whether it misses its target by more than its tolerance; None where there is no target or no
            value, and where it should be near its target and has no interval.
        interval: 95% interval of the value, where there is one.
        reason: why there is no value; None if there is one.
    """

    title: str
    value: float | None
    unit: str
    direction: Direction
    target: float | None
    measured_on: str
    flagged: bool | None = None
    interval: tuple[float, float] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TableFile:
    """A CSV table of an audit: its file, or why there is none."""

    file: str | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What was compared with what, on which images.

    Args:
        before: architecture and hash of the weights of the classifier as it was.
        after: the same of the edited one.
        data: where the images come from.
        forget_sha256: hash over images, labels and new labels of the rows to forget.
        goal: "misclassify", "relabel" or "correct"; `expunge.task.words.goal_words` has its words.
        class_names: one a class; numbers as text where there are no names.
        sizes: images by part: forget, and retain, test and class where measured.
        used_by_edit: the parts that the edit saw; empty if unknown.
        method: name of the method, if it is known.
        settings: its settings, if they are known.
        pools: how many shadow and retrained classifiers, and how they were trained, in words.
        forgotten_class: name of the class that was forgotten as a whole; empty where rows were.
        reference: under which the request is filed; empty if none was given.
        finished: when the edit was saved, ISO 8601 in UTC; empty if unknown.
        outcome: what the edit's own result says became of it; empty if unknown.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    data: str
    forget_sha256: str
    goal: str
    class_names: tuple[str, ...]
    sizes: Mapping[str, int]
    used_by_edit: tuple[str, ...] = ()
    method: str | None = None
    settings: Mapping[str, Any] | None = None
    pools: Mapping[str, str] | None = None
    forgotten_class: str = ""
    reference: str = ""
    finished: str = ""
    outcome: str = ""

    @property
    def words(self) -> GoalWords:
        """Return the words of the goal."""
        return goal_words(self.goal, self.forgotten_class)

    def name_part(self, part: str) -> str:
        """Return what the images of a part are called in a sentence."""
        return part_words(part, self.goal, self.forgotten_class)


@dataclass(frozen=True, slots=True)
class Slice:
    """The predicted class on a plane of images through three rows.

    A point (u, v) of the plane is the image a + u (b - a) + v e, where a is the forgotten row, b and c two other
    images, and e the direction toward c that is orthogonal to b - a and as long: the grid is square in pixels.

    Args:
        row: number of the forgotten row, as in rows.csv.
        names: ids of a, b and c.
        points: (3, 2) where they lie: u (to the right) and v (upward).
        extent: lowest u, highest u, lowest v, highest v.
        before: (n, n) predicted class; the first index is v, from the lowest.
        after: the same of the edited classifier.
    """

    row: int
    names: tuple[str, str, str]
    points: Float[np.ndarray, "3 2"]
    extent: tuple[float, float, float, float]
    before: Int[np.ndarray, "n n"]
    after: Int[np.ndarray, "n n"]


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything an audit found; `audit_json.read_audit` makes it from its folder.

    Args:
        folder: where the tables are.
        version: of the package that wrote it.
        level: "quick" or "full".
        seed: source of all randomness.
        subject: what was compared.
        outcome: reached, missed or ruined; whatever the goal says, a ruined classifier is of no use any more.
        verdict: honest sentences for the top of a report.
        headline: the names of four figures, by `HEADLINES`; None where none of its kind is defined.
        figures: every figure by its dotted name.
        tables: CSV tables by name, see docs/audit.md; and `slices`, which is read by `slices()`.
        notes: what a reader should know about the inputs.
        limits: what the audit doesn't show, sentence by sentence.
    """

    folder: Path
    version: str
    level: str
    seed: int
    subject: Subject
    verdict: tuple[str, ...]
    headline: Mapping[str, str | None]
    figures: Mapping[str, Figure]
    tables: Mapping[str, TableFile]
    notes: tuple[str, ...]
    limits: tuple[str, ...]
    outcome: Outcome = Outcome.MISSED

    def table(self, name: str) -> tuple[Row, ...]:
        """Return the rows of a table as text by column; none if the table is not defined.

        Raises:
            DataError: the file is gone, or no CSV.
        """
        entry = self.tables.get(name)
        if entry is None or entry.file is None or not entry.file.endswith(".csv"):
            return ()
        path = self.folder / entry.file
        if path.resolve().parent != self.folder.resolve():
            raise DataError(str(path), "a table in the audit's folder", f"a link to {path.resolve()}")
        return read_rows(path)

    def slices(self) -> tuple[Slice, ...]:
        """Return the slices through decision boundaries; none if there are none."""
        return read_slices(self.folder)


def read_slices(folder: Path) -> tuple[Slice, ...]:
    """Return the slices that an audit left in `folder`; none if there are none."""
    path = folder / SLICES_FILE
    if not path.exists():
        return ()
    arrays = read_arrays(path)
    try:
        return tuple(
            Slice(
                row=int(arrays["row"][number]),
                names=(str(names[0]), str(names[1]), str(names[2])),
                points=arrays["points"][number],
                extent=_four(arrays["extent"][number]),
                before=arrays["before"][number],
                after=arrays["after"][number],
            )
            for number, names in enumerate(arrays["names"])
        )
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(str(path), "slices as an audit writes them", f"{error!r}", "make the audit anew") from error


def read_rows(path: Path) -> tuple[Row, ...]:
    """Return the rows of a CSV file as text by column.

    Raises:
        DataError: the file can't be read or is not UTF-8 text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # reading as text would change line breaks within cells
        rows = tuple(csv.DictReader(io.StringIO(text, newline="")))
        for number, row in enumerate(rows, start=1):
            if None in row or None in row.values():
                raise csv.Error(f"not as many cells in row {number} as there are columns")
        return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(str(path), "a table of the audit", f"{error}", "make the audit anew") from error


def _four(values: Sequence[float]) -> tuple[float, float, float, float]:
    lowest, highest, bottom, top = (float(value) for value in values)
    return lowest, highest, bottom, top
