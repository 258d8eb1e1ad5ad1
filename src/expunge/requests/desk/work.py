"""The worker process, `python -m expunge.requests.desk.work PROJECT`: one function for each kind of job.

It belongs to the project, not to the server: it goes on when the server stops, and a new server finds it at work. The
system lifts its lock when it dies; the next worker begins the job anew that was not finished.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from expunge.base.errors import LedgerError
from expunge.data.forget import ForgetSet
from expunge.requests.apply import RETRIABLE, Report, apply_waiting
from expunge.requests.approval import approve
from expunge.requests.desk.answers import Answer, write_answers
from expunge.requests.desk.intake import search_copies, take_in
from expunge.requests.desk.process import IDLE_SECONDS
from expunge.requests.desk.worker import Result, Work, work_until_idle
from expunge.requests.export import export_newest
from expunge.requests.images import load_rows
from expunge.requests.place import DESK_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.purge import purge_due, purge_fingerprints, purge_images
from expunge.requests.rewind import undo, withdraw
from expunge.requests.state import State
from expunge.requests.verify import verify_folder
from expunge.requests.versions import OpenProject, Start, verify_applied
from expunge.requests.weights import load_first, read_current, with_weights
from expunge.task.evaluation import compute_logits

EXPORTS = "exports"
LOOK = "look at it again"


def do(work: Work) -> Result:
    """Do a job and return what it came to.

    Raises:
        ExpungeError: what the person can mend.
        KeyboardInterrupt: the job was cancelled.
    """
    return KINDS[work.job.kind](work)


def _search(work: Work) -> Result:
    ledger, draft = Ledger.open(work.folder), str(work.job.arguments["draft"])
    count = search_copies(ledger, draft, str(work.job.arguments["against"]), work.runtime)
    return _said(f"Looked for copies of {count} picture{'s' * (count != 1)}.", draft=draft)


def _receive(work: Work) -> Result:
    with work.writing() as ledger:
        earlier = [
            str(entry.body["request"]) for kind in ("received", "supplied") for entry in work.done_before(ledger, kind)
        ]
        name = earlier[0] if earlier else take_in(ledger, work.job.arguments)
    return _said(f"{name} was added.", request=name)


def _approve(work: Work) -> Result:
    name = str(work.job.arguments["request"])
    with work.writing() as ledger:
        if not work.done_before(ledger, "approved"):
            if ledger.state.find(name).history[-1] != work.job.arguments["seen"]:
                raise LedgerError(name, "the request as it was when it was approved", "one that changed since", LOOK)
            approve(ledger, name)
    return _said(f"{name} was approved.", request=name)


def _apply(work: Work) -> Result:
    names, start = list(work.job.arguments["requests"]), Start(work.job.arguments.get("start", Start.NEWEST))
    with work.writing() as ledger:
        if work.job.attempts > 1:
            left = [name for name in names if ledger.state.find(name).state in RETRIABLE]
            if names and not left:
                verify_applied(OpenProject.open(ledger, work.runtime))
                purge_due(ledger)
                return _said(f"{', '.join(names)}: applied.", requests=names)
            names = left
        before = _Before.of(ledger, names)
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
    return _said(f"Version {number} was undone; {', '.join(names)} wait again.", requests=names)


def _withdraw(work: Work) -> Result:
    name, reason = str(work.job.arguments["request"]), str(work.job.arguments.get("reason", ""))
    with work.writing() as ledger:
        report = None if work.done_before(ledger, "withdrawn") else withdraw(ledger, name, reason, work.runtime)
    said = _said(f"{name} was withdrawn.", request=name)
    return said if report is None or not report.versions else {**said, "text": said["text"] + _reported(report)["text"]}


def _purge(work: Work) -> Result:
    names = list(work.job.arguments["requests"])
    with work.writing() as ledger:
        requests = [ledger.state.find(name) for name in names]
        files = purge_images(ledger, requests) if requests else purge_due(ledger)
        prints = 0
        if work.job.arguments.get("fingerprints"):
            prints = purge_fingerprints(ledger, requests or ledger.state.in_state(State.VERIFIED, State.WITHDRAWN))
    text = [f"Deleted {len(files)} files; the ledger has their hashes."]
    text += [f"Deleted the perceptual hashes of {prints} requests."] if prints else []
    return _said(*text, requests=names)


def _verify(work: Work) -> Result:
    found = verify_folder(work.folder)
    wrong = [*found.problems, *found.unfinished]
    if not wrong:
        with work.writing() as ledger:
            ledger.append([("noted", {"what": "checked", "entries": found.entries})])
            head = ledger.last.hash
    else:
        head = found.head
    text = f"{found.entries} entries and {found.files} files checked, {len(wrong)} problems; head {head}"
    return {**_said(text, *wrong), "failed": bool(wrong)}


def _export(work: Work) -> Result:
    out = work.folder / DESK_FOLDER / EXPORTS / work.job.id
    with work.writing() as ledger:
        exported, card = export_newest(ledger, out, work.job.arguments["formats"], overwrite=True)
        names = [one.path.name for one in exported] + [card.name]
        ledger.append([("noted", {"what": "exported", "files": names, "weights_sha256": ledger.state.weights_sha256})])
    return _said(f"Wrote {', '.join(names)}.")


KINDS: Mapping[str, Callable[[Work], Result]] = {
    "search": _search,
    "receive": _receive,
    "approve": _approve,
    "apply": _apply,
    "undo": _undo,
    "withdraw": _withdraw,
    "purge": _purge,
    "verify": _verify,
    "export": _export,
}


@dataclass(frozen=True, slots=True)
class _Before:
    """What the classifier answered before an edit to the pictures that it is about."""

    rows: dict[str, ForgetSet]
    answers: dict[str, tuple[torch.Tensor, torch.Tensor]]

    @classmethod
    def of(cls, ledger: Ledger, names: Iterable[str]) -> "_Before":
        waiting = [ledger.state.find(name) for name in names] or ledger.state.in_state(State.VALIDATED)
        rows = {one.name: load_rows(ledger, one) for one in waiting if one.images is not None}
        return cls(rows, _answers(ledger, rows))

    def compare(self, ledger: Ledger) -> None:
        """Keep the answers before and after, of the requests that were applied."""
        applied = {name: rows for name, rows in self.rows.items() if ledger.state.find(name).version is not None}
        for name, after in _answers(ledger, applied).items():
            pairs = zip(*self.answers[name], *after, strict=True)
            kept = [Answer(int(old), float(sure), int(new), float(now)) for old, sure, new, now in pairs]
            write_answers(ledger.folder, ledger.keys, name, ledger.state.find(name).version or 0, kept)


def _answers(ledger: Ledger, rows: Mapping[str, ForgetSet]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return answer and confidence of the newest classifier for each picture, by request."""
    if not rows:
        return {}
    newest = with_weights(load_first(ledger).classifier, read_current(ledger))
    found = {name: compute_logits(newest, part.x).softmax(dim=1).max(dim=1) for name, part in rows.items()}
    return {name: (best.indices, best.values) for name, best in found.items()}


def _reported(report: Report) -> Result:
    text = [
        f"Version {one.number}: {', '.join(one.requests)} forgotten in {one.figures['steps']} steps."
        for one in report.versions
    ]
    repaired = sum(len(one.figures["repaired"]) for one in report.versions)
    text += [f"{repaired} earlier pictures came back and were repaired."] if repaired else []
    text += [f"{name} failed: {reason}; the classifier was left as it was." for name, reason in report.failed.items()]
    text += [f"{name} has no pictures; give them once more." for name in report.without_images]
    if report.versions and report.versions[-1].figures["drift"]["over_budget"]:
        text.append("The drift is over the budget: it is time to retrain.")
    names = [*report.verified, *report.failed]
    said = _said(*(text or ["Nothing was waiting."]), requests=names)
    return {**said, "failed": bool(report.failed or report.without_images)}


def _said(*sentences: str, **about: Any) -> Result:  # noqa: ANN401 - names of requests, a draft
    return {"text": list(sentences), "failed": False, **about}


def main(arguments: list[str]) -> None:
    """Work for the project of the first argument; the others are seconds to wait for jobs, and a device."""
    folder = Path(arguments[0])
    idle = float(arguments[1]) if len(arguments) > 1 else IDLE_SECONDS
    os.umask(0o077)
    with suppress(KeyboardInterrupt):
        work_until_idle(folder, do, idle=idle, device=arguments[2] if len(arguments) > 2 else "auto")


if __name__ == "__main__":
    main(sys.argv[1:])
