"""What people ask for, by pages and by the API alike: checked here, then queued for the worker."""

import re
from collections.abc import Sequence
from typing import Any

from expunge.base.errors import DataError, ExpungeError, LedgerError
from expunge.requests.desk.decoding import Upload, decode_apart
from expunge.requests.desk.deleting import CHOICES, What
from expunge.requests.desk.drafts import OPTIONS, Draft, new_draft, read_draft, remove_draft, write_draft
from expunge.requests.desk.people import Role
from expunge.requests.desk.store import Job
from expunge.requests.desk.web import Refused, Visit
from expunge.requests.state import FORGOTTEN, Request

FORMATS = ("safetensors", "torch-export", "onnx", "hub")
LONGEST_TEXT = 200
LONGEST_NUMBER = 12
STARTS = ("newest", "first")
LEVELS = ("quick", "full")


def find_request(visit: Visit, name: str = "") -> Request:
    """Return the request that an address or a field names.

    Raises:
        Refused: there is none.
    """
    name = name or visit.path["name"]
    try:
        return visit.desk.ledger().state.find(name)
    except LedgerError as error:
        raise Refused(404, "There is no such request in this project.") from error


def find_draft(visit: Visit) -> Draft:
    """Return the draft that the address names; each is for the one who made it, and for approvers.

    Raises:
        Refused: there is none.
    """
    try:
        draft = read_draft(visit.desk.folder, visit.desk.store.keys, visit.path["draft"])
    except LedgerError as error:
        raise Refused(404, "There is no such draft: it was made a request of, discarded, or is old.") from error
    if draft.by != visit.person.name and not visit.may(Role.APPROVER):
        raise Refused(404, "There is no such draft.")
    return draft


def start_draft(visit: Visit) -> tuple[Draft, Job | None]:
    """Decode what came in, keep it as a draft, and look for copies of its pictures.

    Raises:
        Refused: nothing came, a picture or the table can't be read, or they don't fit each other.
    """
    pictures, tables = visit.files.get("pictures", []), visit.files.get("table", [])
    if not pictures and not tables:
        raise Refused(400, "Choose pictures, or a table, or both.")
    try:
        decoded, lines = decode_apart(pictures, tables[0].content if tables else None)
        draft = new_draft(visit.person.name, decoded, {name: visit.text(name)[:LONGEST_TEXT] for name in OPTIONS})
        _fill(draft, pictures, lines, visit.text("label"))
    except ExpungeError as error:
        raise Refused(400, str(error)) from error
    if draft.options["again"]:
        find_request(visit, draft.options["again"])
    write_draft(visit.desk.folder, visit.desk.store.keys, draft)
    searches = bool(draft.pictures) and visit.desk.against is not None and not draft.options["again"]
    job = visit.desk.enqueue("search", visit.person, draft=draft.id, against=visit.desk.against) if searches else None
    return draft, job


def send_draft(visit: Visit) -> Job:
    """Make a request of a draft and of the copies that were ticked, each as PICTURE-ROW."""
    draft = find_draft(visit)
    labels, new_labels = visit.texts("label"), visit.texts("new_label")
    if labels:
        _set_labels(draft, labels, new_labels)
        write_draft(visit.desk.folder, visit.desk.store.keys, draft)
    shown = {f"{number}-{one['row']}" for number, near in enumerate(draft.near or ()) for one in near}
    ticked = visit.texts("include")
    if not set(ticked) <= shown:
        raise Refused(400, "Only pictures that the search has shown can be ticked.")
    include = [[int(part) for part in text.split("-")] for text in ticked]
    return visit.desk.enqueue("receive", visit.person, draft=draft.id, include=include, against=visit.desk.against)


def discard_draft(visit: Visit) -> None:
    """Delete a draft, and note whose it was: somebody may have asked for these pictures to be forgotten."""
    draft = find_draft(visit)
    remove_draft(visit.desk.folder, draft.id)
    visit.desk.store.note(visit.person.name, "discarded a draft", of=draft.by, pictures=len(draft.pictures))


def approve_request(visit: Visit) -> Job:
    """Approve a request as it is now; what is not allowed is said by the job, which sees the newest state."""
    request = find_request(visit)
    return visit.desk.enqueue("approve", visit.person, request=request.name, seen=request.history[-1])


def apply_requests(visit: Visit) -> Job:
    """Apply the named requests, or all that wait and are approved."""
    names = [find_request(visit, name).name for name in visit.texts("request")]
    start = visit.text("start") or STARTS[0]
    if start not in STARTS:
        raise Refused(400, f"start: one of {', '.join(STARTS)}.")
    return visit.desk.enqueue("apply", visit.person, requests=names, start=start)


def undo_newest(visit: Visit) -> Job:
    """Undo the newest version, which the person must have seen."""
    return visit.desk.enqueue("undo", visit.person, version=_seen_version(visit))


def withdraw_request(visit: Visit) -> Job:
    """Take a request back; once it was applied, this needs an approver.

    Raises:
        Refused: the person may not.
    """
    request = find_request(visit)
    if request.state in FORGOTTEN and not visit.may(Role.APPROVER):
        raise Refused(403, "Only an approver may withdraw what was applied.")
    return visit.desk.enqueue(
        "withdraw", visit.person, request=request.name, reason=visit.text("reason")[:LONGEST_TEXT]
    )


def find_choice(text: str, names: Sequence[str]) -> What:
    """Return what is to be deleted, of these requests or of all that are done.

    Raises:
        Refused: there is no such choice, or none of single requests.
    """
    if text not in list(What):
        raise Refused(404, f"what: one of {', '.join(What)}.")
    if names and not CHOICES[What(text)].of_requests:
        raise Refused(400, f"{CHOICES[What(text)].label}: not of single requests.")
    return What(text)


def purge(visit: Visit) -> Job:
    """Delete what was chosen, once somebody has said that they read what can't be done afterwards.

    Raises:
        Refused: nobody said so, there is no such choice, or the newest version is another one than they saw.
    """
    names = [find_request(visit, name).name for name in visit.texts("request")]
    what = find_choice(visit.text("what"), names)
    if visit.text("confirmed").lower() not in ("yes", "true"):
        raise Refused(400, f"Confirm that this can't be taken back (confirmed). {CHOICES[what].after}")
    version = _seen_version(visit) if what is What.VERSIONS else None
    text, last = visit.text("seen"), visit.desk.ledger().last.number
    seen = min(int(text), last) if text.isdecimal() and len(text) < LONGEST_NUMBER else last
    return visit.desk.enqueue("purge", visit.person, what=what, requests=names, seen=seen, version=version)


def find_planned(visit: Visit) -> Job:
    """Look in the training data for the images that a retraining has to leave out.

    Raises:
        Refused: nobody said where the training data is.
    """
    if visit.desk.against is None:
        raise Refused(400, "No training data is named: start the desk with --against SOURCE.")
    return visit.desk.enqueue("plan", visit.person, against=visit.desk.against)


def verify(visit: Visit) -> Job:
    """Check the ledger and every file that it names."""
    return visit.desk.enqueue("verify", visit.person)


def export(visit: Visit) -> Job:
    """Write the newest classifier for others."""
    formats = visit.texts("format") or [FORMATS[0]]
    if not set(formats) <= set(FORMATS):
        raise Refused(400, f"format: some of {', '.join(FORMATS)}.")
    return visit.desk.enqueue("export", visit.person, formats=formats)


def audit(visit: Visit) -> Job:
    """Compare the newest version with the first weights, on the pictures that are kept."""
    level = visit.text("level") or LEVELS[0]
    if level not in LEVELS:
        raise Refused(400, f"level: one of {', '.join(LEVELS)}.")
    return visit.desk.enqueue("audit", visit.person, level=level, against=visit.desk.against)


def find_job(visit: Visit) -> Job:
    """Return the job that the address names.

    Raises:
        Refused: there is none.
    """
    job = visit.desk.store.find_job(visit.path["job"])
    if job is None or job.is_note:
        raise Refused(404, "There is no such job.")
    return job


def cancel_job(visit: Visit) -> Job:
    """Ask the worker to stop a job: one's own, or any for an approver."""
    job = find_job(visit)
    if job.person != visit.person.name and not visit.may(Role.APPROVER):
        raise Refused(403, "Only an approver may cancel what others began.")
    visit.desk.store.cancel_job(job.id)
    if job.is_open:
        visit.desk.store.note(visit.person.name, f"stopped {job.kind}", of=job.person)
    visit.desk.keep_working()
    return find_job(visit)


def _seen_version(visit: Visit) -> int:
    """Return the newest version, whose number comes with the form: the person must have seen it.

    Raises:
        Refused: another one is the newest.
    """
    newest = visit.desk.ledger().state.newest
    if visit.text("version") != str(newest):
        raise Refused(409, f"The newest version is {newest} now. Look at the page again.")
    return newest


def _fill(draft: Draft, pictures: list[Upload], lines: list[dict[str, str]], label: str) -> None:
    """Put labels into a draft: the one of the form, or those of the table; lines with an id name training images.

    Raises:
        DataError: the table names a picture that did not come, or leaves one out.
    """
    draft.labels = [label[:LONGEST_TEXT]] * len(draft.pictures)
    by_name = {line["path"]: line for line in lines if line["path"]}
    names = [re.split(r"[/\\]", picture.name)[-1] for picture in pictures]
    if by_name:
        unknown = [name for name in by_name if name not in names]
        missing = [name for name in names if name not in by_name]
        if unknown or missing:
            found = f"{len(unknown)} lines without a picture, {len(missing)} pictures without a line"
            raise DataError("table", "a line for each picture, its path the picture's name", found)
        draft.labels = [by_name[name]["label"] for name in names]
        draft.new_labels = [by_name[name]["new_label"] for name in names]
    draft.rows = {line["id"]: line["new_label"] for line in lines if line["id"] and not line["path"]}


def _set_labels(draft: Draft, labels: list[Any], new_labels: list[Any]) -> None:
    if len(labels) != len(draft.pictures) or (new_labels and len(new_labels) != len(labels)):
        raise Refused(400, f"A label for each of the {len(draft.pictures)} pictures is needed.")
    draft.labels = [str(label)[:LONGEST_TEXT] for label in labels]
    if new_labels:
        draft.new_labels = [str(label)[:LONGEST_TEXT] for label in new_labels]
