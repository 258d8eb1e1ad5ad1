"""audit.json: an audit as text, and read again; without torch, so that reports need none."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from expunge.audit.record import (
    AUDIT_FILE,
    HEADLINES,
    SLICES_FILE,
    WHOLE,
    Audit,
    Direction,
    Figure,
    Subject,
    TableFile,
)
from expunge.base.errors import DataError
from expunge.task.outcome import Outcome

AUDIT_SCHEMA_VERSION = 1


def read_audit(folder: Path) -> Audit:
    """Return the audit in `folder`.

    Raises:
        DataError: there is none, it is of a later schema, or its JSON is damaged.
    """
    path = folder / AUDIT_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DataError(str(path), "an audit", "no such file", "make it with expunge audit") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(str(path), "an audit's JSON", f"{error}", "make it anew") from error
    if not isinstance(content, dict):
        raise DataError(str(path), "an audit's JSON", f"a {type(content).__name__}", "make it anew")
    if content.get("schema_version") != AUDIT_SCHEMA_VERSION:
        raise DataError(str(path), f"schema version {AUDIT_SCHEMA_VERSION}", repr(content.get("schema_version")))
    try:
        return _to_audit(folder, content)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(str(path), "every part of an audit", f"{error!r}", "make it anew") from error


def to_json(audit: Audit) -> dict[str, Any]:
    """Return the content of audit.json."""
    subject = {name: _plain(getattr(audit.subject, name)) for name in Subject.__slots__}
    return {
        "schema_version": AUDIT_SCHEMA_VERSION,
        "version": audit.version,
        "level": audit.level,
        "seed": audit.seed,
        "subject": subject,
        "outcome": audit.outcome.value,
        "verdict": list(audit.verdict),
        "headline": dict(audit.headline),
        "figures": {
            name: {part: _plain(getattr(figure, part)) for part in Figure.__slots__}
            for name, figure in audit.figures.items()
        },
        "tables": {name: {"file": entry.file, "reason": entry.reason} for name, entry in audit.tables.items()},
        "notes": list(audit.notes),
        "limits": list(audit.limits),
    }


def _to_audit(folder: Path, content: Mapping[str, Any]) -> Audit:
    subject = dict(content["subject"])
    for name in ("class_names", "used_by_edit"):
        subject[name] = tuple(subject[name])
    return Audit(
        folder=folder,
        version=content["version"],
        level=content["level"],
        seed=content["seed"],
        subject=Subject(**subject),
        verdict=tuple(content["verdict"]),
        headline={name: content["headline"].get(name) for name in HEADLINES},
        figures={name: _to_figure(values) for name, values in content["figures"].items()},
        tables={name: _to_table_file(name, entry) for name, entry in content["tables"].items()},
        notes=tuple(content["notes"]),
        limits=tuple(content["limits"]),
        outcome=Outcome(content.get("outcome") or _outcome_of(content["figures"])),
    )


def _outcome_of(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what an audit says that is older than outcomes: whether the goal holds for every row."""
    return Outcome.REACHED if figures["goal.exact"]["value"] == WHOLE else Outcome.MISSED


def _to_table_file(name: str, entry: Mapping[str, Any]) -> TableFile:
    """Return the entry of a table, whose file can only be the one of its own name in the audit's folder."""
    file = entry["file"]
    if (file is not None and file not in (f"{name}.csv", SLICES_FILE)) or Path(name).name != name:
        raise ValueError(f"a table {name} in {file}")
    return TableFile(file, entry["reason"])


def _to_figure(values: Mapping[str, Any]) -> Figure:
    interval = values["interval"]
    return Figure(
        **{
            **values,
            "direction": Direction(values["direction"]),
            "interval": None if interval is None else (float(interval[0]), float(interval[1])),
        }
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
