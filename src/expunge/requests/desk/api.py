"""The REST API: a table of operations, from which the routes and the OpenAPI description are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from expunge.requests.desk import acts, files, pages
from expunge.requests.desk.audits import tell_audits
from expunge.requests.desk.deleting import What
from expunge.requests.desk.drafts import Draft
from expunge.requests.desk.people import Role, sign_out
from expunge.requests.desk.retraining import tell_later, tell_retraining
from expunge.requests.desk.store import Job
from expunge.requests.desk.view import tell_entry, tell_history, tell_job, tell_pictures, tell_project, tell_request
from expunge.requests.desk.web import Visit
from expunge.requests.plan import read_places

ROOT = "/api/v1"
MOST = 1000
TEXT, DAY, FLAG = {"type": "string"}, {"type": "string", "format": "date"}, {"type": "boolean"}
FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
TEXTS = {"type": "array", "items": TEXT}
ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API.

    Args:
        method: of HTTP.
        path: below `ROOT`.
        role: what is needed.
        name: its operationId.
        summary: what it does, a sentence.
        handler: does it.
        answer: name of the schema of what comes back.
        fields: of its body, by name; empty if it takes none.
        multipart: whether the body is a form with files rather than JSON.
        status: of a good answer.
    """

    method: str
    path: str
    role: Role
    name: str
    summary: str
    handler: Callable[[Visit], Response]
    answer: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    multipart: bool = False
    status: int = 200


def _project(visit: Visit) -> Response:
    return JSONResponse(tell_project(visit.desk.ledger().state))


def _retraining(visit: Visit) -> Response:
    ledger = visit.desk.ledger()
    return JSONResponse(tell_retraining(ledger.state, read_places(ledger)))


def _requests(visit: Visit) -> Response:
    state = visit.desk.ledger().state
    wanted = visit.query.get("state", "")
    told = [tell_request(state, one) for one in state.requests.values() if not wanted or one.state == wanted]
    return JSONResponse({"requests": told[-MOST:]})


def _request(visit: Visit) -> Response:
    ledger, found = visit.desk.ledger(), acts.find_request(visit)
    told = {
        **tell_request(ledger.state, found),
        "pictures": tell_pictures(ledger, found),
        "history": tell_history(ledger, found),
        "later": tell_later(ledger.state, found),
    }
    return JSONResponse(told)


def _entries(visit: Visit) -> Response:
    ledger, after = visit.desk.ledger(), visit.query.get("after", "0")
    first = (int(after) if after.isdecimal() and len(after) < 12 else 0) + 1
    numbers = range(first, min(ledger.last.number, first + MOST - 1) + 1)
    entries = [tell_entry(entry) for entry in ledger.entries_at(list(numbers))]
    return JSONResponse({"entries": entries, "newest": ledger.last.number, "head": ledger.last.hash})


def _audits(visit: Visit) -> Response:
    return JSONResponse({"audits": tell_audits(visit.desk.folder, visit.desk.store.keys)})


def _start_draft(visit: Visit) -> Response:
    draft, job = acts.start_draft(visit)
    return JSONResponse({**_told_draft(draft), "job": None if job is None else tell_job(job)}, 201)


def _draft(visit: Visit) -> Response:
    return JSONResponse(_told_draft(acts.find_draft(visit)))


def _discard(visit: Visit) -> Response:
    acts.discard_draft(visit)
    return JSONResponse({"id": visit.path["draft"]})


def _jobs(visit: Visit) -> Response:
    return JSONResponse({"jobs": [tell_job(job) for job in visit.desk.store.recent_jobs(pages.ENTRIES)]})


def _job(visit: Visit) -> Response:
    visit.desk.keep_working()
    return JSONResponse(tell_job(acts.find_job(visit)))


def _end_session(visit: Visit) -> Response:
    sign_out(visit.desk.store, visit.person.name, visit.session)
    return JSONResponse({"person": visit.person.name})


def _told_draft(draft: Draft) -> dict[str, Any]:
    near = [[{k: v for k, v in one.items() if k != "picture"} for one in part] for part in draft.near or ()]
    told = {"id": draft.id, "by": draft.by, "pictures": len(draft.pictures), "labels": draft.labels}
    return {**told, "rows": list(draft.rows), "searched": draft.near is not None, "near": near}


def _queued(act: Callable[[Visit], Job]) -> Callable[[Visit], Response]:
    def handler(visit: Visit) -> Response:
        return JSONResponse(tell_job(act(visit)), ACCEPTED)

    return handler


def _job_of(
    method: str,
    path: str,
    role: Role,
    name: str,
    summary: str,
    act: Callable[[Visit], Job],
    **fields: Any,  # noqa: ANN401
) -> Operation:
    return Operation(method, path, role, name, summary, _queued(act), "Job", fields, status=ACCEPTED)


LETTER = {"reference": TEXT, "due": DAY, "keep_until": DAY, "again": TEXT, "label": TEXT}
TICKED = {
    **TEXTS,
    "description": "Copies to add, each as PICTURE-ROW: its number in the draft, a row of the training data.",
}
OPERATIONS = (
    Operation("GET", "/project", Role.READER, "readProject", "Newest version and drift.", _project, "Project"),
    Operation(
        "GET", "/requests", Role.READER, "listRequests", "All requests, or those of ?state=.", _requests, "Requests"
    ),
    Operation("GET", "/requests/{name}", Role.READER, "readRequest", "One request.", _request, "RequestInFull"),
    Operation(
        *("GET", "/requests/{name}/pictures/{number}", Role.READER, "readPicture", "A picture that is kept."),
        *(files.picture, "Picture"),
    ),
    Operation(
        *("GET", "/retraining", Role.READER, "readRetraining", "Drift, what holds earlier rows, and the plan."),
        *(_retraining, "Retraining"),
    ),
    Operation(
        *("GET", "/retraining/rows", Role.READER, "readPlannedRows", "The images to leave out, as CSV."),
        *(files.planned, "Table"),
    ),
    Operation(
        *("GET", "/retraining/labels", Role.READER, "readPlannedLabels", "The images with new labels, as CSV."),
        *(files.relabelled, "Table"),
    ),
    _job_of(
        *("POST", "/retraining", Role.APPROVER, "findPlanned", "Look for these images in the training data."),
        acts.find_planned,
    ),
    Operation(
        "GET", "/entries", Role.READER, "listEntries", "Entries of the ledger ?after= a number.", _entries, "Entries"
    ),
    Operation(
        *("POST", "/drafts", Role.REQUESTER, "startDraft", "Send pictures or a table, and look for copies."),
        *(
            _start_draft,
            "Draft",
            {"pictures": FILES, "table": {"type": "string", "format": "binary"}, **LETTER},
            True,
            201,
        ),
    ),
    Operation("GET", "/drafts/{draft}", Role.REQUESTER, "readDraft", "A draft with what was found.", _draft, "Draft"),
    Operation("DELETE", "/drafts/{draft}", Role.REQUESTER, "discardDraft", "Delete a draft.", _discard, "Id"),
    _job_of(
        *(
            "POST",
            "/drafts/{draft}/request",
            Role.REQUESTER,
            "sendDraft",
            "Make a request of a draft.",
            acts.send_draft,
        ),
        include=TICKED,
        label=TEXTS,
        new_label=TEXTS,
    ),
    _job_of(
        *("POST", "/requests/{name}/approve", Role.APPROVER, "approveRequest", "Approve a request."),
        acts.approve_request,
    ),
    _job_of(
        *("POST", "/requests/{name}/withdraw", Role.REQUESTER, "withdrawRequest", "Take a request back."),
        acts.withdraw_request,
        reason=TEXT,
    ),
    _job_of(
        *("POST", "/apply", Role.APPROVER, "apply", "Apply these requests, or all that wait."),
        acts.apply_requests,
        request=TEXTS,
        start={**TEXT, "enum": list(acts.STARTS)},
    ),
    _job_of(
        *("POST", "/undo", Role.APPROVER, "undo", "Undo the newest version, of this number."),
        acts.undo_newest,
        version=TEXT,
    ),
    _job_of(
        *("POST", "/purge", Role.APPROVER, "purge", "Delete something, of these requests or of all that are done."),
        acts.purge,
        what={**TEXT, "enum": list(What)},
        request=TEXTS,
        confirmed={**FLAG, "description": "That somebody has read what can't be done afterwards; must be true."},
        seen={"type": "integer", "description": "The newest entry that was seen: what came later stays."},
        version={"type": "integer", "description": "The newest version that was seen, where versions are deleted."},
    ),
    _job_of("POST", "/verify", Role.READER, "verify", "Check the ledger and every file that it names.", acts.verify),
    Operation("GET", "/audits", Role.READER, "listAudits", "The newest audits.", _audits, "Audits"),
    _job_of(
        *("POST", "/audits", Role.APPROVER, "audit", "Compare the newest version with the first weights."),
        acts.audit,
        level={**TEXT, "enum": list(acts.LEVELS)},
    ),
    Operation("GET", "/audits/{audit}", Role.READER, "readAudit", "The report of an audit.", files.audited, "Page"),
    _job_of("POST", "/export", Role.APPROVER, "export", "Write the newest classifier.", acts.export, format=TEXTS),
    Operation(
        "GET", "/exports/{export}", Role.READER, "readExport", "An exported classifier, ZIP.", files.exported, "Zip"
    ),
    Operation("GET", "/jobs", Role.READER, "listJobs", "The newest jobs.", _jobs, "Jobs"),
    Operation("GET", "/jobs/{job}", Role.READER, "readJob", "One job: where it is, what it came to.", _job, "Job"),
    _job_of("DELETE", "/jobs/{job}", Role.REQUESTER, "cancelJob", "Stop a job.", acts.cancel_job),
    Operation("DELETE", "/session", Role.READER, "endSession", "Sign out.", _end_session, "Person"),
)
