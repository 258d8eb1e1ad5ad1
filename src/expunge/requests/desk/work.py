"""The worker process, `python -m expunge.requests.desk.work PROJECT`: one function for each kind of job.

`worker` is its loop, and says how long it lives.
"""

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from expunge.base.errors import ExpungeWarning, LedgerError
from expunge.requests.apply import RETRIABLE, Report, apply_waiting
from expunge.requests.approval import approve
from expunge.requests.desk.comparing import Before
from expunge.requests.desk.deleting import CHOICES, What, concerned
from expunge.requests.desk.intake import take_in
from expunge.requests.desk.looks import audit, export, note, plan, search, verify
from expunge.requests.desk.people import ROLES, Role
from expunge.requests.desk.process import IDLE_SECONDS
from expunge.requests.desk.store import NOTE
from expunge.requests.desk.worker import Result, Work, said, work_until_idle
from expunge.requests.health import HINT
from expunge.requests.project import Ledger
from expunge.requests.purge import (
    purge_due,
    purge_fingerprints,
    purge_images,
    purge_keepers,
    purge_quarantine,
)
from expunge.requests.rebase import purge_versions
from expunge.requests.rewind import undo, withdraw
from expunge.requests.state import FORGOTTEN
from expunge.requests.telling import is_over, tell_unchanged
from expunge.requests.versions import OpenProject, Start, verify_applied

LOOK = "look at it again"


def do(work: Work) -> Result:
    """Do a job and return what it came to.

    Raises:
        ExpungeError: what the person can mend, or that the person may not do this any more.
        KeyboardInterrupt: the job was cancelled.
    """
    if work.job.kind != NOTE:
        _require(work, Ledger.open(work.folder), NEEDED.get(work.job.kind, Role.APPROVER))
    return KINDS[work.job.kind](work)


def _require(work: Work, ledger: Ledger, needed: Role) -> None:
    """Check that the person has a role now: it may have been taken since the job was asked for.

    Raises:
        LedgerError: the person has less.
    """
    word = ledger.state.people.get(work.job.person, "")
    if word not in ROLES or ROLES[word] < needed:
        raise LedgerError(work.job.person, f"the role {needed.word}, or more", word or "none by now")


def _receive(work: Work) -> Result:
    with work.writing() as ledger:
        earlier = [
            str(entry.body["request"]) for kind in ("received", "supplied") for entry in work.done_before(ledger, kind)
        ]
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", ExpungeWarning)
            name = earlier[0] if earlier else take_in(ledger, work.job.arguments)
    told = [f"Note: {note.message}." for note in notes if issubclass(note.category, ExpungeWarning)]
    return said(f"{name} was added.", *told, request=name)


def _approve(work: Work) -> Result:
    name = str(work.job.arguments["request"])
    with work.writing() as ledger:
        if not work.done_before(ledger, "approved"):
            if ledger.state.find(name).history[-1] != work.job.arguments["seen"]:
                raise LedgerError(name, "the request as it was when it was approved", "one that changed since", LOOK)
            approve(ledger, name)
    return said(f"{name} was approved.", request=name)


def _apply(work: Work) -> Result:
    names, start = list(work.job.arguments["requests"]), Start(work.job.arguments.get("start", Start.NEWEST))
    with work.writing() as ledger:
        if work.job.attempts > 1:
            left = [name for name in names if ledger.state.find(name).state in RETRIABLE]
            if names and not left:
                verify_applied(OpenProject.open(ledger, work.runtime))
                purge_due(ledger)
                return said(f"{', '.join(names)}: applied.", requests=names)
            names = left
        before = Before.of(ledger, names)
        report = apply_waiting(ledger, work.runtime, names=names, start=start)
        before.compare(ledger)
    return _reported(report)


def _undo(work: Work) -> Result:
    with work.writing() as ledger:
        earlier = work.done_before(ledger, "undone")
        number = int(work.job.arguments["version"])
        if not earlier and ledger.state.newest != number:
            raise LedgerError("undo", f"version {number} as the newest", f"version {ledger.state.newest}", LOOK)
        if not earlier:
            undo(ledger)
        names = list(ledger.state.versions[number].requests)
    return said(f"Version {number} was undone; {', '.join(names)} wait again.", requests=names)


def _withdraw(work: Work) -> Result:
    name, reason = str(work.job.arguments["request"]), str(work.job.arguments.get("reason", ""))
    with work.writing() as ledger:
        if ledger.state.find(name).state in FORGOTTEN:  # by now
            _require(work, ledger, Role.APPROVER)
        report = None if work.done_before(ledger, "withdrawn") else withdraw(ledger, name, reason, work.runtime)
    told = said(f"{name} was withdrawn.", request=name)
    return told if report is None or not report.versions else {**told, "text": told["text"] + _reported(report)["text"]}


def _purge(work: Work) -> Result:
    asked = work.job.arguments
    what, names = What(asked["what"]), list(asked["requests"])
    with work.writing() as ledger:
        requests = concerned(ledger, what, names, int(asked["seen"]))
        match what:
            case What.KEEPERS:
                gone = len(purge_keepers(ledger, requests))
            case What.FINGERPRINTS:
                gone = purge_fingerprints(ledger, requests)
            case What.VERSIONS:
                gone = _purge_versions(work, ledger)
            case What.QUARANTINE:
                gone = len(purge_quarantine(ledger))
                ledger.append([("noted", {"what": "deleted the quarantine", "files": gone})])
            case What.PICTURES:
                gone = len(purge_images(ledger, requests))
            case What.DUE:
                gone = len(purge_due(ledger))
    return said(f"{CHOICES[what].label}: {gone} deleted. The ledger says which, and by whom.", requests=names)


def _purge_versions(work: Work, ledger: Ledger) -> int:
    """Delete what leads back from the version that the person saw, and return how many files went."""
    earlier = work.done_before(ledger, "rebased")
    if earlier:
        return len(earlier[0].body["files"])
    number = int(work.job.arguments["version"])
    if ledger.state.newest != number:
        raise LedgerError("versions", f"version {number} as the newest", f"version {ledger.state.newest}", LOOK)
    return len(purge_versions(ledger))


NEEDED = {"search": Role.REQUESTER, "receive": Role.REQUESTER, "withdraw": Role.REQUESTER, "verify": Role.READER}
"""The role that a kind of job needs; all others need an approver."""
KINDS: Mapping[str, Callable[[Work], Result]] = {
    "search": search,
    "receive": _receive,
    "approve": _approve,
    "apply": _apply,
    "undo": _undo,
    "withdraw": _withdraw,
    "purge": _purge,
    "verify": verify,
    "export": export,
    "plan": plan,
    "audit": audit,
    NOTE: note,
}


def _reported(report: Report) -> Result:
    text = [
        f"Version {one.number}: {', '.join(one.requests)} forgotten in {one.figures['steps']} steps."
        for one in report.versions
    ]
    text += [f"{name}: {said}" for one in report.versions for name, said in tell_unchanged(one, "picture").items()]
    text += [line for one in report.versions for line in _earlier(one.figures)]
    text += [f"{name} failed: {reason}; the classifier was left as it was." for name, reason in report.failed.items()]
    text += [f"{' and '.join(report.ruined)}: {HINT}."] if report.ruined else []
    text += [f"{name} has no pictures; give them once more." for name in report.without_images]
    text += [f"{report.error}. That ended the job; the other requests wait."] if report.error else []
    if report.versions and is_over(report.versions[-1].figures["drift"]):
        text.append("The drift is over the budget: it is time to retrain.")
    names = [*report.verified, *report.failed]
    told = said(*(text or ["Nothing was waiting."]), requests=names)
    return {**told, "failed": bool(report.failed or report.without_images or report.error)}


def _earlier(figures: Mapping[str, Any]) -> list[str]:
    """Return what an edit found of the rows that earlier ones forgot."""
    checked, repaired, unseen = figures["checked"], len(figures["repaired"]), figures["uncheckable"]
    lines = [f"{checked} earlier pictures checked, {repaired} came back and were repaired."] if checked else []
    return lines + ([f"Not checked, since nothing of them is kept: {', '.join(unseen)}."] if unseen else [])


def main(arguments: list[str]) -> None:
    """Work for the project of the first argument; the others are seconds to wait for jobs, and a device."""
    folder = Path(arguments[0])
    idle = float(arguments[1]) if len(arguments) > 1 else IDLE_SECONDS
    os.umask(0o077)
    with suppress(KeyboardInterrupt):
        work_until_idle(folder, do, idle=idle, device=arguments[2] if len(arguments) > 2 else "auto")


if __name__ == "__main__":
    main(sys.argv[1:])
