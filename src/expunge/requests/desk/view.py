"""What the pages and the API say of requests, versions and entries; from the ledger, without torch."""

import io
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load

from expunge.base.errors import LedgerError
from expunge.requests.approval import Approval, approval_of, is_approved
from expunge.requests.chain import Entry
from expunge.requests.desk.answers import read_answers
from expunge.requests.desk.retraining import held_by
from expunge.requests.desk.store import Job
from expunge.requests.keys import Keys
from expunge.requests.project import Ledger
from expunge.requests.state import FORGOTTEN, LedgerState, Request, State
from expunge.requests.telling import is_over, newest_drift, say_drift, unchanged_of

WORDS = {
    State.RECEIVED: "received",
    State.VALIDATED: "waits",
    State.APPLIED: "applied, not verified yet",
    State.VERIFIED: "forgotten",
    State.FAILED: "failed",
    State.WITHDRAWN: "withdrawn",
}
DONE = (*FORGOTTEN, State.WITHDRAWN)
NOT_TOLD = ("actor", "act", "instances", "contents", "how", "files", "figures", "patch", "images", "first", "model")


def tell_request(state: LedgerState, request: Request) -> dict[str, Any]:
    """Return what a list says of a request."""
    open_ = request.state not in DONE
    approved = is_approved(state, request)
    needs = open_ and not approved
    return {
        "name": request.name,
        "state": request.state.value,
        "word": "waits for approval" if needs else WORDS[request.state],
        "reference": request.reference,
        "pictures": request.rows,
        "goal": request.goal,
        "received": request.received[:10],
        "due": request.due,
        "overdue": open_ and request.due is not None and date.fromisoformat(request.due) < datetime.now(UTC).date(),
        "by": request.by,
        "approved_by": list(request.approved),
        "needs_approval": needs,
        "version": request.version,
        "pictures_kept": request.images is not None,
        "keep_until": request.keep_until,
        "held_by": held_by(request),
        "unchanged": unchanged_of(state, request),
    }


def tell_project(state: LedgerState) -> dict[str, Any]:
    """Return what stands at the top of the queue: the newest version, and the drift so far."""
    lineage = state.lineage()
    drift = newest_drift(state)
    return {
        "version": state.newest,
        "weights_sha256": state.weights_sha256,
        "can_undo": state.newest != state.base,
        "undo_requests": list(lineage[-1].requests) if lineage else [],
        "drift": None if drift is None else {name: drift[name] for name in ("spent", "budget", "measured_on")},
        "drift_text": [] if drift is None else say_drift(drift),
        "over_budget": drift is not None and is_over(drift),
        "approval": approval_of(state).value,
        "approval_change": dict(state.approval) or None,
        "two_people": approval_of(state) is Approval.TWO,
    }


def tell_pictures(ledger: Ledger, request: Request) -> list[dict[str, Any]]:
    """Return each picture of a request: labels, and what the classifier answered before and after."""
    names = ledger.state.created["model"]["class_names"]
    answers = read_answers(ledger.folder, ledger.keys, request.name, request.version)
    found = []
    for number, one in enumerate(ledger.instances(request)):
        entry: dict[str, Any] = {
            "number": number,
            "id": one.id,
            "label": class_name(names, one.label),
            "new_label": "" if one.new_label is None else class_name(names, one.new_label),
        }
        if number < len(answers):
            answer = answers[number]
            wanted = answer.after != one.label if one.new_label is None else answer.after == one.new_label
            entry["before"] = {"answer": class_name(names, answer.before), "confidence": answer.before_confidence}
            entry["after"] = {"answer": class_name(names, answer.after), "confidence": answer.after_confidence}
            entry["holds"] = wanted
        found.append(entry)
    return found


def tell_entry(entry: Entry) -> dict[str, Any]:
    """Return what a list says of an entry."""
    return {
        "number": entry.number,
        "time": entry.time,
        "kind": entry.kind,
        "by": entry.body.get("actor", ""),
        "about": _about(entry.body),
        "hash": entry.hash,
    }


def tell_history(ledger: Ledger, request: Request) -> list[dict[str, Any]]:
    """Return time, kind, person and particulars of every entry that speaks of a request."""
    return [
        {"time": time, "kind": kind, "by": body.get("actor", ""), "about": _about(body)}
        for time, kind, body in ledger.history(request)
    ]


def tell_job(job: Job) -> dict[str, Any]:
    """Return what the pages and the API say of a job."""
    return {
        "id": job.id,
        "kind": job.kind,
        "by": job.person,
        "state": job.state.value,
        "progress": job.progress,
        "text": list(job.result["text"]) if job.result else [],
        "failed": bool(job.error) or bool(job.result and job.result.get("failed")),
        "error": job.error,
        "requests": _requests_of(job),
        "created": datetime.fromtimestamp(job.created, UTC).isoformat(timespec="seconds"),
    }


def class_name(names: list[str], label: int) -> str:
    """Return what a class is called; its number where it has no name."""
    return str(names[label]) if label < len(names) else str(label)


def picture_of(ledger: Ledger, request: Request, number: int) -> bytes:
    """Return a PNG file of a picture of a request.

    Raises:
        LedgerError: its pictures were deleted, or it has none of that number.
    """
    if request.images is None or not 0 <= number < request.rows:
        raise LedgerError(request.name, "a picture that is kept", "none")
    bounds = tuple(ledger.state.created["bounds"])
    pixels = _pixels(ledger.folder / request.images.path, request.images.sha256, request.name, ledger.keys)
    levels = 255 * (pixels[number] - bounds[0]) / (bounds[1] - bounds[0])
    array = levels.clip(0, 255).round().astype(np.uint8).transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0]).save(stream, "PNG")
    return stream.getvalue()


@lru_cache(maxsize=4)
def _pixels(path: Path, sha256: str, owner: str, keys: Keys) -> np.ndarray:
    """Return the pixels in a sealed file; the hash tells versions of a file apart."""
    found: np.ndarray = load(keys.open(path.read_bytes(), owner))["x"]
    return found


def _requests_of(job: Job) -> list[str]:
    found = job.result or job.arguments
    return list(found.get("requests") or ()) + ([found["request"]] if found.get("request") else [])


def _about(body: Mapping[str, Any]) -> str:
    """Return the particulars of an entry in a line: what is short enough to be read."""
    parts = [f"{name} {_say(value)}" for name, value in sorted(body.items()) if name not in NOT_TOLD]
    return ", ".join(part for part in parts if len(part) < 90 and not part.endswith(" "))


def _say(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None or isinstance(value, dict) else str(value)
