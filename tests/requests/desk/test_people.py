"""What the ledger says of people: who came and went, who was invited and dismissed; no address and no token."""

import asyncio
import os
import threading
import time
from contextlib import suppress
from datetime import datetime

from expunge.requests.approval import Approval, set_approval
from expunge.requests.desk import people, store
from expunge.requests.desk.people import give_role, invite
from expunge.requests.desk.store import NOTE, JobState, Store
from expunge.requests.desk.web import Desk
from expunge.requests.desk.work import do
from expunge.requests.desk.worker import take_jobs
from expunge.requests.recovery import writing
from expunge.requests.verify import verify_folder


def told(desk):
    """Return kind, person and what each entry says of somebody."""
    entries = [entry for entry in desk.ledger().entries if entry.kind in ("noted", "invited", "dismissed")]
    return [
        (entry.body.get("what", entry.kind), entry.body.get("actor", ""), entry.body.get("person", ""))
        for entry in entries
    ]


def test_who_comes_and_goes_is_in_the_ledger(desk, visitor):
    with writing(desk.folder) as ledger:
        ledger.signature = {"actor": "carla"}
        give_role(ledger, "anna", people.Role.READER)
    token, client = invite(desk.store, "anna", hours=1), visitor().client
    client.get("/login", params={"token": token})
    assert client.post("/login", data={"token": "guess"}).status_code == 401
    assert desk.store.open_jobs() == [], "only who signs in is noted: a guess costs no entry"
    assert client.post("/login", data={"token": token}).status_code == 200
    [note] = desk.store.open_jobs()
    assert (note.kind, note.person) == (NOTE, "anna")
    take_jobs(desk.folder, desk.store, do)
    for path in ("/", "/ledger", "/requests", "/jobs"):
        client.get(path)
    session = client.post("/api/v1/session", json={"token": invite(desk.store, "anna", hours=1)}).json()["session"]
    client.request("DELETE", "/api/v1/session", headers={"authorization": f"Bearer {session}"})
    take_jobs(desk.folder, desk.store, do)
    with writing(desk.folder) as ledger:
        ledger.signature = {"actor": "carla"}
        people.dismiss(ledger, desk.store, "anna")
    assert told(desk) == [
        ("invited", "carla", "anna"),
        ("signed in", "anna", ""),
        ("signed in", "anna", ""),
        ("signed out", "anna", ""),
        ("dismissed", "carla", "anna"),
    ]
    texts = "".join(entry.text for entry in desk.ledger().entries)
    assert not any(secret in texts for secret in (token, session, "127.0.0.1", "testclient"))
    noted = [entry for entry in desk.ledger().entries if entry.kind == "noted"]
    assert all(set(entry.body) == {"what", "at", "actor", "act"} for entry in noted)
    assert all(datetime.fromisoformat(entry.body["at"]) <= datetime.fromisoformat(entry.time) for entry in noted)
    assert verify_folder(desk.folder).problems == ()


def test_signing_out_by_the_page_is_noted_and_notes_are_no_jobs_that_people_see(desk, visitor):
    anna = visitor("anna", "requester")
    anna.client.post("/login", data={"token": invite(desk.store, "anna", hours=1)})
    [note] = desk.store.open_jobs()
    assert "data-job" not in anna.get("/").text
    assert note.id not in anna.get("/jobs").text
    assert note.id not in anna.get(f"/?job={note.id}").text
    assert anna.get(f"/api/v1/jobs/{note.id}").status_code == 404
    assert anna.get("/api/v1/jobs").json() == {"jobs": []}
    headers = {"authorization": f"Bearer {anna.client.cookies[desk.cookie]}"}
    assert anna.client.request("DELETE", f"/api/v1/jobs/{note.id}", headers=headers).status_code == 404
    anna.send("/", "/sign-out")
    take_jobs(desk.folder, desk.store, do)
    assert [what for what, *_ in told(desk)] == ["invited", "signed in", "signed in", "signed out"]


def test_what_has_ended_is_deleted_when_the_desks_file_is_opened(desk, visitor, monkeypatch):
    anna, now = visitor("anna", "requester"), time.time()
    anna.send("/", "/sign-out")
    visitor("ben")
    for hours in (1, 40):
        invite(desk.store, "carla", hours=hours)

    def counts():
        with desk.store._connected() as connection:
            tables = ("invitations", "sessions", "forms")
            return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608

    Store.open(desk.folder, desk.store.keys)
    assert counts() == [4, 1, 1]
    monkeypatch.setattr(store.time, "time", lambda: now + 13 * people.HOUR)
    Store.open(desk.folder, desk.store.keys)
    assert counts() == [1, 0, 0]


def test_old_drafts_and_half_written_ones_go_when_the_desk_is_opened(desk):
    folder = desk.folder / "desk" / "drafts"
    folder.mkdir(parents=True, exist_ok=True)
    for name, days in (("a.sealed", 30), (".b.sealed.01234567.partial", 30), ("c.sealed", 1)):
        (folder / name).write_bytes(b"pictures")
        os.utime(folder / name, (time.time() - days * 86400,) * 2)
    Desk.open(desk.folder)
    assert [path.name for path in folder.iterdir()] == ["c.sealed"]


def test_no_call_of_the_database_holds_up_other_visitors(desk, visitor, monkeypatch):
    connected, seen, own = Store._connected, [], threading.get_ident()

    def note(self):
        with suppress(RuntimeError):
            if threading.get_ident() != own:  # a browser's loop runs in a test's own thread, once one was started
                seen.append(asyncio.get_running_loop())  # there is none in a thread of the pool
        return connected(self)

    token = invite(desk.store, "anna", hours=1)
    monkeypatch.setattr(Store, "_connected", note)
    anna = visitor("anna", "requester")
    assert anna.send("/", "/sign-out").status_code == 200
    assert visitor().client.post("/api/v1/session", json={"token": token}).json()["person"] == "anna"
    assert seen == []


def test_a_note_is_made_once_and_however_late(desk, visitor, monkeypatch):
    visitor("anna")
    desk.store.add_job(NOTE, "anna", {"what": "signed out", "at": "2026-01-01T00:00:00+00:00"})
    monkeypatch.setattr("expunge.requests.desk.worker.OLDEST_SECONDS", -1.0)
    from expunge.requests.desk import worker  # noqa: PLC0415

    real = worker.Store.update_job
    killed = [True]

    def update(store, job):
        if killed and job.state is JobState.DONE:
            killed.clear()
            raise SystemExit("killed")
        return real(store, job)

    monkeypatch.setattr(worker.Store, "update_job", update)
    try:
        take_jobs(desk.folder, desk.store, do)
    except SystemExit:
        take_jobs(desk.folder, desk.store, do)
    assert killed == []
    assert [what for what, *_ in told(desk)] == ["invited", "signed in", "signed out"]


def test_who_discards_a_draft_or_stops_a_job_is_in_the_ledger(desk, visitor, pictures):
    anna, ben = visitor("anna", "requester"), visitor("ben", "approver")
    answer = anna.send("/new", "/drafts", files=[("pictures", ("a.png", pictures(0), "image/png"))], label="0")
    place = answer.headers["location"].partition("?")[0]
    [search] = desk.store.open_jobs()
    ben.send("/jobs", f"/jobs/{search.id}/cancel")
    ben.send(place, f"{place}/discard")
    assert anna.get(place).status_code == 404
    take_jobs(desk.folder, desk.store, do)
    noted = [entry.body for entry in desk.ledger().entries if entry.kind == "noted"][-2:]
    assert [(one["what"], one["actor"], one["of"]) for one in noted] == [
        ("stopped search", "ben", "anna"),
        ("discarded a draft", "ben", "anna"),
    ]


def test_who_changed_the_approval_stands_above_the_requests(desk, visitor):
    rita = visitor("rita")
    assert "changed who approves" not in rita.get("/").text
    with writing(desk.folder) as ledger:
        ledger.signature = {"actor": "carla"}
        set_approval(ledger, Approval.NONE)
    assert "carla changed who approves a request: nobody has to (before: one who did not add it)" in rita.get("/").text
    told = rita.get("/api/v1/project").json()
    assert (told["approval"], told["two_people"], told["approval_change"]["by"]) == ("none", False, "carla")
    assert "carla" in rita.get("/ledger").text


def test_years_of_work_leave_the_ledger_small(desk, visitor):
    visitor("anna")
    entry = [entry for entry in desk.ledger().entries if entry.kind == "noted"][-1]
    assert sum(len(str(part)) for part in entry) < 400


def test_jobs_of_somebody_who_was_dismissed_meanwhile_fail(desk, visitor, pictures):
    anna, ben = visitor("anna", "requester"), visitor("ben", "approver")
    anna.add(pictures(0))
    ben.send("/requests/R0001", "/requests/R0001/approve")
    with writing(desk.folder) as ledger:
        people.dismiss(ledger, desk.store, "ben")
    [job] = desk.store.open_jobs()
    take_jobs(desk.folder, desk.store, do)
    failed = desk.store.find_job(job.id)
    assert failed.state is JobState.FAILED
    assert "expected the role approver, or more, got none by now" in failed.error
    assert not desk.ledger().state.find("R0001").approved


def test_what_was_applied_meanwhile_is_withdrawn_by_an_approver_only(desk, visitor, pictures):
    anna, ben = visitor("anna", "requester"), visitor("ben", "approver")
    with writing(desk.folder) as ledger:
        ledger.signature = {"actor": "carla"}
        set_approval(ledger, Approval.NONE)
    anna.add(pictures(0))
    ben.send("/", "/apply")
    anna.send("/requests/R0001", "/requests/R0001/withdraw", reason="a mistake")
    applied, withdrawn = desk.store.open_jobs()
    take_jobs(desk.folder, desk.store, do)
    assert desk.store.find_job(applied.id).state is JobState.DONE
    assert "expected the role approver, or more, got requester" in desk.store.find_job(withdrawn.id).error
    assert desk.ledger().state.find("R0001").state.value == "verified"
