"""An audit that is made at the desk: what its report says, how it is kept, and what its page may do in a browser."""

import re
import threading

from filelock import FileLock

from expunge.requests.desk import worker
from expunge.requests.desk.audits import UNFINISHED
from expunge.requests.desk.process import WORKER_LOCK
from expunge.requests.desk.store import JobState
from expunge.requests.desk.work import do
from expunge.requests.desk.worker import take_jobs, work_until_idle
from expunge.requests.verify import verify_folder

FAR = "2999-12-31"


def test_the_newest_version_is_audited_against_the_first_and_the_report_is_read_in_a_sandbox(
    desk, anna, ben, pictures, files_of
):
    assert "Nothing was applied since the first weights" in ben.get("/audits").text
    anna.add(pictures(0), pictures(3), label="0", keep_until=FAR)
    anna.add(table=b"id,new_label\n4,0\n", keep_until=FAR)
    anna.add(pictures(1), label="1")
    for name in ("R0001", "R0002", "R0003"):
        ben.do(f"/requests/{name}", f"/requests/{name}/approve")
    ben.apply()
    page = ben.get("/audits").text
    assert "Of 4 forgotten pictures, 3 are kept" in page
    assert 'action="/audits"' not in anna.get("/audits").text
    before = set(files_of(desk.folder))
    job = ben.do("/audits", "/audits", level="quick")
    assert job.state is JobState.DONE, job.error
    assert "2 of 3 (misclassify), and 1 of 1 (relabel)" in job.result["text"][0]
    made = sorted(name for name in set(files_of(desk.folder)) - before if "audit" in name)
    assert made == [f"desk/audits/{job.id}-{goal}.sealed" for goal in ("misclassify", "relabel")]
    assert b"<html" not in (desk.folder / made[0]).read_bytes()
    assert anna.get("/audits").text.count(f'href="/audits/{job.id}') == 2
    report = anna.get(f"/audits/{job.id}-misclassify")
    assert "Of 3 forgotten images, 2 are kept" in report.text
    assert "<img" not in report.text
    policy = report.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'sha256-")
    assert "allow-same-origin" not in policy
    assert "unsafe" not in policy
    assert re.search("script-src 'sha256-[^ ]+'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'", policy)
    [told] = [entry.body for entry in desk.ledger().entries if entry.body.get("what") == "audited"]
    assert (told["actor"], told["version"], told["pictures"]) == ("ben", desk.ledger().state.newest, 3)
    assert verify_folder(desk.folder).problems == ()
    listed = anna.get("/api/v1/audits").json()["audits"]
    assert {(one["goal"], one["rows"], one["forgotten"]) for one in listed} == {
        ("misclassify", 2, 3),
        ("relabel", 1, 1),
    }
    assert anna.get(f"/api/v1/audits/{job.id}-relabel").headers["content-security-policy"].startswith("sandbox")
    for name in ("x", f"{job.id}-other", "..%2f..%2fproject.toml", "../store"):
        assert anna.get(f"/audits/{name}").status_code == 404


def test_without_pictures_there_is_nothing_to_audit(desk, anna, ben, pictures):
    anna.add(pictures(0), label="0")
    ben.do("/requests/R0001", "/requests/R0001/approve")
    ben.apply()
    assert "No picture of a forgotten request is kept" in ben.get("/audits").text
    desk.store.add_job("audit", "ben", {"level": "quick", "against": desk.against})
    [job] = desk.store.open_jobs()
    take_jobs(desk.folder, desk.store, do)
    assert "pictures of a forgotten request, got none that is kept" in desk.store.find_job(job.id).error
    headers = {"authorization": f"Bearer {ben.client.cookies[desk.cookie]}"}
    assert ben.client.post("/api/v1/audits", json={"level": "none"}, headers=headers).status_code == 400


def test_what_a_killed_worker_left_of_an_audit_is_swept_away(desk):
    left = desk.folder / "desk" / f"{UNFINISHED}x7"
    left.mkdir()
    (left / "predictions.npz").write_bytes(b"answers")
    work_until_idle(desk.folder, do, idle=0)
    assert not left.exists()


def test_a_worker_that_starts_while_a_server_looks_for_one_goes_to_work(desk, monkeypatch):
    desk.store.note("ben", "looked")
    lock = FileLock(desk.folder / "desk" / WORKER_LOCK, thread_local=False)
    with lock:
        monkeypatch.setattr(worker, "LOOK_SECONDS", 0.1)
        work_until_idle(desk.folder, do, idle=0.3)
        assert len(desk.store.open_jobs()) == 1, "another worker is at work"
        monkeypatch.setattr(worker, "LOOK_SECONDS", 60.0)
        looking = threading.Timer(0.3, lock.release)
        looking.start()
        work_until_idle(desk.folder, do, idle=0.3)
    looking.join()
    assert desk.store.open_jobs() == []
