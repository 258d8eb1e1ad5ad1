"""The rows of the audit for the page: names in place of numbers, pictures inside the page."""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from expunge.audit.record import Audit
from expunge.base.cells import unescape_cell
from expunge.base.errors import DataError
from expunge.report.panels.panel import class_name, number_of

PNG_START = b"\x89PNG\r\n\x1a\n"
MOST_PICTURES = 64
MOST_BYTES = 6_000_000
IMAGES = "images"
CAPTIONS = {
    "misclassify": "Above each picture stands its label in the data.",
    "relabel": "Above each picture stand its label in the data, and the new one.",
    "correct": "Above each picture stands its right answer.",
    "unseen": "Above each picture stands its label in the data.",
}
"""What the heading of a picture is, by goal."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it stands in the page."""

    address: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class RowView:
    """One forgotten image as the page shows it, under a heading; confidences and shares in percent."""

    id: str
    heading: str
    label: str
    new_label: str
    before: str
    before_percent: float
    after: str
    after_percent: float
    margin: float | None
    copies_percent: float | None
    met: bool
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows, why some pictures (or all) are not there, empty if none is missing, and what the headings are."""

    rows: tuple[RowView, ...]
    missing: str
    caption: str

    @property
    def pictured(self) -> tuple[RowView, ...]:
        """Return the rows that have a picture."""
        return tuple(row for row in self.rows if row.picture is not None)


def read_rows(audit: Audit, *, images: bool) -> Rows:
    """Return the rows of `audit`, with pictures if `images` is set and the audit kept them.

    Raises:
        DataError: a picture is missing, is no PNG, or lies outside the folder of images.
    """
    views, used = [], 0
    table = audit.table("rows")
    for number, row in enumerate(table):
        picture = None
        if images and row["image"] and number < MOST_PICTURES and used < MOST_BYTES:
            picture = _read_picture(audit.folder, row["image"])
            used += len(picture.address)
        views.append(_to_view(audit, row, picture))
    return Rows(
        tuple(views),
        _why_missing(views, kept=any(row["image"] for row in table), images=images),
        CAPTIONS[_kind(audit)],
    )


def _why_missing(views: list[RowView], *, kept: bool, images: bool) -> str:
    shown = sum(view.picture is not None for view in views)
    if not images:
        return "Pictures were left out of this page."
    if not kept:
        return "The audit kept no pictures of the forgotten images."
    if shown < len(views):
        return f"The first {shown} of {len(views)} are shown, so that the page stays small."
    return ""


def _to_view(audit: Audit, row: Mapping[str, str], picture: Picture | None) -> RowView:
    robust = number_of(row["robust"])
    label, new_label = (class_name(audit, row[name]) for name in ("label", "new_label"))
    return RowView(
        id=unescape_cell(row["id"]),
        heading={"relabel": f"{label} → {new_label}", "correct": new_label or label}.get(_kind(audit), label),
        label=label,
        new_label=new_label,
        before=class_name(audit, row["predicted_before"]),
        before_percent=100 * float(row["confidence_before"]),
        after=class_name(audit, row["predicted_after"]),
        after_percent=100 * float(row["confidence_after"]),
        margin=number_of(row["margin"]),
        copies_percent=None if robust is None else 100 * robust,
        met=row["goal_met"] == "yes",
        picture=picture,
    )


def _kind(audit: Audit) -> str:
    return audit.subject.goal if audit.subject.goal in CAPTIONS else "misclassify"


def _read_picture(folder: Path, name: str) -> Picture:
    place = (folder / name).resolve()
    if place.parent != (folder / IMAGES).resolve():
        raise DataError("image", f"a file in {IMAGES}/ of the audit", repr(name), "make the audit anew")
    try:
        content = place.read_bytes()
    except OSError as error:
        raise DataError(
            str(place), "a picture of the audit", f"{error.strerror}", "make the audit anew, or say --no-images"
        ) from error
    if not content.startswith(PNG_START) or len(content) < 24:
        raise DataError(str(place), "a PNG picture", f"{len(content)} bytes of something else", "make the audit anew")
    width, height = struct.unpack(">II", content[16:24])
    return Picture("data:image/png;base64," + base64.b64encode(content).decode(), width, height)
