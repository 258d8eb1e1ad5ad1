"""The pages: server-rendered, every text escaped."""

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import HTMLResponse, Response

from expunge.requests.desk import acts
from expunge.requests.desk.audits import tell_audits
from expunge.requests.desk.deleting import CHOICES, count
from expunge.requests.desk.files import export_folders
from expunge.requests.desk.frame import page
from expunge.requests.desk.rendering import render
from expunge.requests.desk.retraining import tell_later, tell_retraining
from expunge.requests.desk.view import tell_entry, tell_history, tell_job, tell_pictures, tell_project, tell_request
from expunge.requests.desk.web import Desk, Refused, Visit
from expunge.requests.plan import read_places
from expunge.requests.state import FORGOTTEN, State
from expunge.requests.telling import unchanged_of
from expunge.task.words import say_unchanged

DUE_DAYS = 30
"""By default a request is due after a month, as Article 12(3) of the GDPR has it."""
ENTRIES = 50
MOST_SHOWN = 500


def queue(visit: Visit) -> Response:
    """Show the requests, those that are open first, by their day."""
    state = visit.desk.ledger().state
    wanted = visit.query.get("state", "")
    told = [tell_request(state, one) for one in state.requests.values()]
    chosen = [one for one in told if not wanted or one["state"] == wanted]
    chosen.sort(
        key=lambda one: (one["state"] not in ("received", "validated", "failed"), one["due"] or "9", one["name"])
    )
    waiting = [one["name"] for one in told if one["state"] == State.VALIDATED and not one["needs_approval"]]
    content = {
        "requests": chosen[:MOST_SHOWN],
        "count": len(chosen),
        "states": [one.value for one in State],
        "wanted": wanted,
        "waiting": waiting,
        "project": tell_project(state),
    }
    return page(visit, "queue.html.j2", content)


def new(visit: Visit) -> Response:
    """Show the form that takes pictures in."""
    due = datetime.now(UTC).date() + timedelta(days=DUE_DAYS)
    again = acts.find_request(visit, visit.query["again"]).name if visit.query.get("again") else ""
    content = {"due": due.isoformat(), "classes": _classes(visit), "against": visit.desk.against, "again": again}
    return page(visit, "new.html.j2", content)


def draft(visit: Visit) -> Response:
    """Show a draft, and the nearest training images of each picture."""
    found = acts.find_draft(visit)
    searching = [job for job in visit.desk.store.open_jobs() if job.arguments.get("draft") == found.id]
    content = {"draft": found, "classes": _classes(visit), "searching": bool(searching), "against": visit.desk.against}
    return page(visit, "draft.html.j2", content)


def request(visit: Visit) -> Response:
    """Show one request: pictures, answers before and after, history, and what can be done."""
    return page(visit, "request.html.j2", _request(visit))


def report(visit: Visit) -> Response:
    """Show what was asked and done, to be printed or kept."""
    ledger = visit.desk.ledger()
    head = {"entries": ledger.last.number, "head": ledger.last.hash}
    return page(visit, "report.html.j2", {**_request(visit), **head, "printed": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"})


def retraining(visit: Visit) -> Response:
    """Show the drift, what holds the rows that were forgotten, and the plan of a retraining."""
    ledger = visit.desk.ledger()
    told = tell_retraining(ledger.state, read_places(ledger))
    return page(visit, "retraining.html.j2", {**told, "against": visit.desk.against})


def delete(visit: Visit) -> Response:
    """Show what can be deleted, and what can't be done afterwards."""
    names, ledger = _one_request(visit), visit.desk.ledger()
    choices = [
        {"name": what.value, "label": one.label, "after": one.after, "count": count(ledger, what, names)}
        for what, one in CHOICES.items()
        if not names or one.of_requests
    ]
    return page(visit, "delete.html.j2", {"names": names, "choices": choices})


def confirm(visit: Visit) -> Response:
    """Ask once more before something is deleted."""
    names, ledger = _one_request(visit), visit.desk.ledger()
    what = acts.find_choice(visit.path["what"], names)
    content = {
        "names": names,
        "what": what.value,
        "choice": CHOICES[what],
        "count": count(ledger, what, names),
        "seen": ledger.last.number,
        "newest": ledger.state.newest,
    }
    return page(visit, "confirm.html.j2", content)


def ledger(visit: Visit) -> Response:
    """Show the entries, newest first."""
    opened = visit.desk.ledger()
    text = visit.query.get("before", "")
    last = min(int(text) - 1 if text.isdecimal() and len(text) < 12 else opened.last.number, opened.last.number)
    numbers = range(max(1, last - ENTRIES + 1), last + 1)
    entries = [tell_entry(entry) for entry in reversed(opened.entries_at(list(numbers)))]
    checks = [
        tell_job(job) for job in visit.desk.store.recent_jobs(ENTRIES) if job.kind == "verify" and not job.is_open
    ]
    content = {"entries": entries, "earlier": numbers.start if numbers.start > 1 else None, "checks": checks[:3]}
    return page(visit, "ledger.html.j2", {**content, "head": opened.last.hash, "newest": opened.last.number})


def jobs(visit: Visit) -> Response:
    """Show what the worker did and does."""
    return page(visit, "jobs.html.j2", {"jobs": [tell_job(job) for job in visit.desk.store.recent_jobs(ENTRIES)]})


def audits(visit: Visit) -> Response:
    """Show the audits that were made here."""
    state, told = visit.desk.ledger().state, tell_audits(visit.desk.folder, visit.desk.store.keys)
    forgotten = state.in_state(*FORGOTTEN)
    content = {
        "audits": told,
        "levels": acts.LEVELS,
        "against": visit.desk.against,
        "newest": state.newest if state.newest != state.base else None,
        "kept": sum(request.rows for request in forgotten if request.images is not None),
        "forgotten": sum(request.rows for request in forgotten),
    }
    return page(visit, "audits.html.j2", content)


def exports(visit: Visit) -> Response:
    """Show the exported classifiers."""
    found = [
        {
            "name": each.name,
            "files": sorted((file.name, file.stat().st_size) for file in each.iterdir() if file.is_file()),
        }
        for each in export_folders(visit)
    ]
    return page(visit, "exports.html.j2", {"exports": found, "formats": acts.FORMATS})


def sign_in_page(desk: Desk, token: str) -> Response:
    """Ask whether to sign in: looking at a link, as mail programs do, does not use it up."""
    person = desk.store.find_invitation(token)
    if person is None:
        raise Refused(401, "This link was used, or is too old. Ask for another one.")
    return HTMLResponse(render("login.html.j2", {"name": person, "token": token}))


def _request(visit: Visit) -> dict[str, Any]:
    opened, found = visit.desk.ledger(), acts.find_request(visit)
    pictures, count = tell_pictures(opened, found), unchanged_of(opened.state, found)
    return {
        "request": tell_request(opened.state, found),
        "how": found.how,
        "figures": found.figures,
        "pictures": pictures[:MOST_SHOWN],
        "unchanged": say_unchanged(count, found.rows, "picture"),
        "measured": any("before" in one for one in pictures),
        "history_lines": tell_history(opened, found),
        "later": tell_later(opened.state, found),
        "project": tell_project(opened.state),
    }


def _one_request(visit: Visit) -> list[str]:
    """Return the name of the request that the address asks about, or nothing."""
    return [acts.find_request(visit, visit.query["request"]).name] if visit.query.get("request") else []


def _classes(visit: Visit) -> list[str]:
    model = visit.desk.ledger().state.created["model"]
    return list(model["class_names"]) or [str(number) for number in range(model["num_classes"])]
