"""Reports of audits that were made at the desk, sealed: they say how the classifier answers to single pictures."""

import html
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

from expunge.base.disk import PRIVATE, make_folder, write_bytes
from expunge.base.errors import LedgerError
from expunge.requests.keys import Keys
from expunge.requests.place import DESK_FOLDER

FOLDER = "audits"
NAME = re.compile("[0-9a-f]{16}-[a-z]+")
UNFINISHED = "audit-"
"""What the folder of an audit that is under way begins with."""
MOST_SHOWN = 20
OWN_POLICY = re.compile('http-equiv="Content-Security-Policy" content="([^"]+)"')


def write_audit(folder: Path, keys: Keys, name: str, told: Mapping[str, Any]) -> None:
    """Keep an audit, sealed.

    Args:
        folder: of the project.
        keys: of the project.
        name: 16 digits of the job, and the goal.
        told: version, goal, rows, forgotten, level, made (ISO 8601), by, page (HTML).
    """
    path = folder / DESK_FOLDER / FOLDER / f"{name}.sealed"
    make_folder(path.parent)
    write_bytes(path, keys.seal_file(json.dumps(told).encode(), f"audit {name}"), mode=PRIVATE)


def read_audit(folder: Path, keys: Keys, name: str) -> dict[str, Any]:
    """Return an audit as it was kept.

    Raises:
        LedgerError: there is none of that name, it was changed, or sealed with another key.
    """
    path = folder / DESK_FOLDER / FOLDER / f"{name}.sealed"
    if not NAME.fullmatch(name) or not path.is_file():
        raise LedgerError("audit", "an audit of this project", "none")
    found: dict[str, Any] = json.loads(keys.open_file(path.read_bytes(), f"audit {name}"))
    return found


def tell_audits(folder: Path, keys: Keys) -> list[dict[str, Any]]:
    """Return what a list says of the newest audits, newest first."""
    paths = sorted((folder / DESK_FOLDER / FOLDER).glob("*.sealed"), key=lambda each: -each.stat().st_mtime)
    found = [(path.stem, read_audit(folder, keys, path.stem)) for path in paths[:MOST_SHOWN]]
    return [{"name": name, **{key: value for key, value in told.items() if key != "page"}} for name, told in found]


def policy_of(page: str) -> str:
    """Return the policy of a report's page: its own, which names its style and script, in a sandbox of its own origin.

    >>> policy_of('<meta http-equiv="Content-Security-Policy" content="img-src data:">').partition(";")[0]
    'sandbox allow-scripts'
    """
    found = OWN_POLICY.search(page)
    own = html.unescape(found[1]) if found else "default-src 'none'"
    return f"sandbox allow-scripts; {own}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def sweep_audits(folder: Path) -> None:
    """Delete what a killed worker left of an audit."""
    for path in (folder / DESK_FOLDER).glob(f"{UNFINISHED}*"):
        with suppress(OSError):
            rmtree(path)
