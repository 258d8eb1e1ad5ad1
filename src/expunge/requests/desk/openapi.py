"""The OpenAPI description of the desk's API."""

from collections.abc import Mapping
from typing import Any

from expunge._version import __version__
from expunge.requests.desk.api import FLAG, OPERATIONS, ROOT, TEXT, TEXTS

KINDS = {"Picture": "image/png", "Zip": "application/zip", "Table": "text/csv", "Page": "text/html"}
"""Media types of answers that are no JSON."""


def describe() -> dict[str, Any]:
    """Return the OpenAPI description of the API."""
    paths: dict[str, dict[str, Any]] = {
        f"{ROOT}/session": {
            "post": {
                "operationId": "startSession",
                "summary": "Sign in with the token of a link; the session's secret is sent as Bearer from then on.",
                "security": [],
                "requestBody": _body({"token": TEXT}, multipart=False),
                "responses": _responses("Session", 201),
            }
        }
    }
    for one in OPERATIONS:
        names = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
        told: dict[str, Any] = {
            "operationId": one.name,
            "summary": one.summary,
            "description": f"Needs the role {one.role.word}.",
            "parameters": [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in names],
            "responses": _responses(one.answer, one.status),
        }
        if one.fields:
            told["requestBody"] = _body(one.fields, multipart=one.multipart)
        paths.setdefault(ROOT + one.path, {})[one.method.lower()] = told
    schemes = {"session": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "expunge desk", "version": __version__},
        "security": [{"session": []}],
        "paths": paths,
        "components": {"securitySchemes": schemes, "schemas": SCHEMAS},
    }


def _body(fields: Mapping[str, Any], *, multipart: bool) -> dict[str, Any]:
    kind = "multipart/form-data" if multipart else "application/json"
    return {"content": {kind: {"schema": {"type": "object", "properties": dict(fields)}}}}


def _responses(answer: str, status: int) -> dict[str, Any]:
    kind = KINDS.get(answer, "application/json")
    good = {"description": "Done.", "content": {kind: {"schema": {"$ref": f"#/components/schemas/{answer}"}}}}
    refused = {"description": "Not done; why.", "content": {"application/json": {"schema": _ref("Error")}}}
    return {str(status): good, "default": refused}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Any) -> dict[str, Any]:  # noqa: ANN401 - schemas
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


NUMBER, WHOLE = {"type": "number"}, {"type": "integer"}
WHOLES = {"type": "array", "items": WHOLE}
FLAG_OR_NONE = {"type": ["boolean", "null"]}
NONE_OR_TEXT = {"type": ["string", "null"]}
REQUEST = {
    "name": TEXT,
    "state": {**TEXT, "enum": ["received", "validated", "applied", "verified", "failed", "withdrawn"]},
    "word": TEXT,
    "reference": TEXT,
    "pictures": WHOLE,
    "goal": TEXT,
    "received": TEXT,
    "due": NONE_OR_TEXT,
    "overdue": FLAG,
    "by": TEXT,
    "approved_by": TEXTS,
    "needs_approval": FLAG,
    "version": {"type": ["integer", "null"]},
    "pictures_kept": FLAG,
    "keep_until": NONE_OR_TEXT,
    "unchanged": WHOLE,
    "held_by": {"type": ["string", "null"], "enum": ["keeper", "pictures", "nothing", None]},
}
HAPPENED = {"time": TEXT, "kind": TEXT, "by": TEXT, "about": TEXT}
SCHEMAS: dict[str, Any] = {
    "Error": _object(error=TEXT),
    "Id": _object(id=TEXT),
    "Person": _object(person=TEXT),
    "Session": _object(session=TEXT, person=TEXT),
    "Project": _object(
        version=WHOLE,
        weights_sha256=TEXT,
        can_undo=FLAG,
        undo_requests=TEXTS,
        drift={"type": ["object", "null"]},
        drift_text=TEXTS,
        over_budget=FLAG_OR_NONE,
        approval={**TEXT, "enum": ["none", "one", "two"]},
        approval_change={"type": ["object", "null"]},
        two_people=FLAG,
    ),
    "Request": _object(**REQUEST),
    "Retraining": _object(
        drift=_object(spent=NUMBER, budget=NUMBER, over_budget=FLAG_OR_NONE, text=TEXTS, measured_on=NONE_OR_TEXT),
        versions={"type": "array", "items": _object(version=WHOLE, checked=WHOLE, repaired=WHOLE, not_checked=TEXTS)},
        held={"type": "array", "items": _object(by=TEXT, pictures=WHOLE, requests=TEXTS, meaning=TEXT)},
        plan=TEXTS,
        requests={
            "type": "array",
            "items": _object(name=TEXT, pictures=WHOLE, goal=TEXT, found={"type": ["integer", "null"]}),
        },
        looked=FLAG,
    ),
    "Requests": _object(requests=_list("Request")),
    "RequestInFull": _object(
        **{**REQUEST, "pictures": {"type": "array", "items": _object(number=WHOLE, id=TEXT, label=TEXT)}},
        history={"type": "array", "items": _object(**HAPPENED)},
        later=_object(checked=WHOLES, not_checked=WHOLES, repaired=WHOLE),
    ),
    "Entry": _object(number=WHOLE, hash=TEXT, **HAPPENED),
    "Entries": _object(entries=_list("Entry"), newest=WHOLE, head=TEXT),
    "Near": _object(
        row=WHOLE,
        id=TEXT,
        label=WHOLE,
        same=FLAG,
        alike=FLAG,
        bits=WHOLE,
        correlation=NUMBER,
        features={"type": ["number", "null"]},
    ),
    "Draft": _object(
        id=TEXT,
        by=TEXT,
        pictures=WHOLE,
        labels=TEXTS,
        rows=TEXTS,
        searched=FLAG,
        near={"type": "array", "items": _list("Near")},
    ),
    "Job": _object(
        id=TEXT,
        kind=TEXT,
        by=TEXT,
        state={**TEXT, "enum": ["waiting", "running", "done", "failed", "cancelled"]},
        progress={"type": ["object", "null"]},
        text=TEXTS,
        failed=FLAG,
        error=TEXT,
        requests=TEXTS,
        created=TEXT,
    ),
    "Jobs": _object(jobs=_list("Job")),
    "Picture": {"type": "string", "contentMediaType": "image/png"},
    "Audits": _object(
        audits={
            "type": "array",
            "items": _object(
                name=TEXT, version=WHOLE, goal=TEXT, level=TEXT, rows=WHOLE, forgotten=WHOLE, made=TEXT, by=TEXT
            ),
        }
    ),
    "Page": {"type": "string", "contentMediaType": "text/html"},
    "Table": {"type": "string", "contentMediaType": "text/csv"},
    "Zip": {"type": "string", "contentMediaType": "application/zip"},
}
