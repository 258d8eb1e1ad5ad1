"""Drafts: pictures that came in and are looked at before a request is made of them, sealed with the project's key."""

import base64
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expunge.base.disk import PRIVATE, make_folder, write_bytes
from expunge.base.errors import LedgerError
from expunge.requests.desk.limits import DRAFT_DAYS
from expunge.requests.keys import Keys
from expunge.requests.place import DESK_FOLDER

FOLDER = "drafts"
OPTIONS = ("reference", "due", "keep_until", "again")
ID = re.compile(r"[0-9a-f]{16}")
DAY = 86400.0


@dataclass(slots=True)
class Draft:
    """What is to become a request.

    Args:
        id: 16 hexadecimal digits.
        by: whose it is.
        labels: label of each picture, as it was written.
        new_labels: the label that each is to get; empty where any other will do.
        pictures: PNG files.
        rows: ids of training images that a table named, in place of pictures, with their new labels.
        options: reference, due, keep_until, again.
        near: for each picture the nearest training images, each with its figures and PNG; None before the search.
    """

    id: str
    by: str
    labels: list[str]
    new_labels: list[str]
    pictures: list[bytes]
    rows: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    near: list[list[dict[str, Any]]] | None = None


def new_draft(by: str, pictures: Sequence[bytes], options: Mapping[str, str]) -> Draft:
    """Return a draft of pictures without labels."""
    named = {name: options.get(name, "") for name in OPTIONS}
    return Draft(secrets.token_hex(8), by, [""] * len(pictures), [""] * len(pictures), list(pictures), {}, named)


def write_draft(folder: Path, keys: Keys, draft: Draft) -> None:
    """Keep a draft, sealed; the pictures of drafts are deleted when a request is made of them."""
    near = draft.near
    if near is not None:
        near = [[{**one, "picture": base64.b64encode(one["picture"]).decode()} for one in part] for part in near]
    content = {
        "by": draft.by,
        "labels": draft.labels,
        "new_labels": draft.new_labels,
        "pictures": [base64.b64encode(picture).decode() for picture in draft.pictures],
        "rows": draft.rows,
        "options": draft.options,
        "near": near,
    }
    path = _path(folder, draft.id)
    make_folder(path.parent)
    write_bytes(path, keys.seal_file(json.dumps(content).encode(), f"draft {draft.id}"), mode=PRIVATE)


def read_draft(folder: Path, keys: Keys, name: str) -> Draft:
    """Return a draft.

    Raises:
        LedgerError: there is none of that name, or it was sealed with another key.
    """
    if not ID.fullmatch(name) or not _path(folder, name).is_file():
        raise LedgerError("draft", "a draft of this project", "none", "it was made a request of, discarded, or is old")
    content = json.loads(keys.open_file(_path(folder, name).read_bytes(), f"draft {name}"))
    content["pictures"] = [base64.b64decode(picture) for picture in content["pictures"]]
    for one in (one for part in content["near"] or () for one in part):
        one["picture"] = base64.b64decode(one["picture"])
    return Draft(id=name, **content)


def remove_draft(folder: Path, name: str) -> None:
    """Delete a draft that may be there."""
    if ID.fullmatch(name):
        _path(folder, name).unlink(missing_ok=True)


def sweep_drafts(folder: Path) -> None:
    """Delete drafts that nobody made a request of for days, and what was left of one that was never written whole."""
    for path in (folder / DESK_FOLDER / FOLDER).glob("*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > DRAFT_DAYS * DAY:
                path.unlink()


def _path(folder: Path, name: str) -> Path:
    return folder / DESK_FOLDER / FOLDER / f"{name}.sealed"
