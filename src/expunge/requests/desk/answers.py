"""What the classifier answered to each picture of a request before and after it was applied; sealed, no pictures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from expunge.base.disk import PRIVATE, make_folder, write_bytes
from expunge.requests.keys import Keys
from expunge.requests.place import DESK_FOLDER

FOLDER = "answers"


@dataclass(frozen=True, slots=True)
class Answer:
    """Two answers to one picture, and how sure the classifier was (0..1)."""

    before: int
    before_confidence: float
    after: int
    after_confidence: float


def write_answers(folder: Path, keys: Keys, request: str, version: int, answers: Sequence[Answer]) -> None:
    """Keep the answers to a request's pictures, in their order, of the version that forgot them."""
    content = {"version": version, "answers": [asdict(one) for one in answers]}
    path = _path(folder, request)
    make_folder(path.parent)
    write_bytes(path, keys.seal_file(json.dumps(content).encode(), f"answers {request}"), mode=PRIVATE)


def read_answers(folder: Path, keys: Keys, request: str, version: int | None) -> list[Answer]:
    """Return the answers of the version that a request is in; empty if there are none."""
    path = _path(folder, request)
    if not path.is_file():
        return []
    content = json.loads(keys.open_file(path.read_bytes(), f"answers {request}"))
    return [Answer(**one) for one in content["answers"]] if content["version"] == version else []


def _path(folder: Path, request: str) -> Path:
    return folder / DESK_FOLDER / FOLDER / f"{request}.sealed"
