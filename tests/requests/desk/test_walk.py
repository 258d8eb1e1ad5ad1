"""The walk of two people through the desk, over ASGI: what pages say, what the ledger keeps, and who did it."""

import json
import zipfile
from io import BytesIO

import pytest

from expunge.base.errors import OutputError
from expunge.requests.apply import Report
from expunge.requests.desk.store import JobState
from expunge.requests.desk.work import _reported, do
from expunge.requests.desk.worker import take_jobs
from expunge.requests.project import Ledger
from expunge.requests.state import State
from expunge.requests.verify import verify_folder

FAR = "2999-12-31"


def test_two_people_take_a_request_from_pictures_to_forgotten_and_back(desk, anna, ben, pictures):
    added = anna.add(pictures(0), pictures(3), label="0", keep_until=FAR, reference="letter 1")
    assert added.state is JobState.DONE, added.error
    assert added.result["request"] == "R0001"
    page = anna.get("/").text
    assert "waits for approval" in page
    assert "letter 1" in page
    assert "2999-01-01" in page
    assert 'action="/apply"' not in ben.get("/requests/R0001").text
    assert ben.do("/requests/R0001", "/requests/R0001/approve").state is JobState.DONE
    ben.apply("/requests/R0001", request="R0001")
    page = ben.get("/requests/R0001").text
    assert page.count("not forgotten") == 0
    assert page.count(">forgotten<") >= 2
    assert page.count("before: ") == page.count("after: ") == 2
    assert anna.get("/requests/R0001/pictures/1").content.startswith(b"\x89PNG")
    report = ben.get("/requests/R0001/report").text
    assert "approved by ben" in report
    assert "When version 1 was made, its weights were read back from the disk: the goal held for 100.0%" in report
    assert desk.ledger().last.hash in report
    undone = ben.do("/", "/undo", version="1")
    assert undone.state is JobState.DONE
    assert "waits for approval" in anna.get("/").text, "an undone request needs a new approval"
    withdrawn = anna.do("/requests/R0001", "/requests/R0001/withdraw", reason="a mistake")
    assert withdrawn.state is JobState.DONE
    assert Ledger.open(desk.folder).state.find("R0001").state is State.WITHDRAWN
    entries = [entry for entry in desk.ledger().entries if entry.kind not in ("created", "invited")]
    assert [(entry.kind, entry.body["actor"]) for entry in entries if entry.body.get("what") != "signed in"] == [
        ("received", "anna"),
        ("validated", "anna"),
        ("approved", "ben"),
        ("applied", "ben"),
        ("verified", "ben"),
        ("undone", "ben"),
        ("withdrawn", "anna"),
        ("purged", "anna"),
    ]
    checked = anna.do("/ledger", "/verify")
    assert "0 problems" in checked.result["text"][0]
    assert verify_folder(desk.folder).problems == ()
    assert "0 problems" in anna.get("/ledger").text


@pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
def test_a_picture_that_was_answered_otherwise_all_along_is_told_as_unchanged(desk, anna, ben, pictures):
    added = anna.add(pictures(1), pictures(3), label="1")
    assert any("2 (0 instead of 1); perhaps a label is wrong" in line for line in added.result["text"])
    ben.do("/requests/R0001", "/requests/R0001/approve")
    sentence = (
        "The answer to 1 of 2 pictures is what it was before: it was answered as asked already. "
        "Perhaps its label is wrong."
    )
    assert f"R0001: {sentence}" in ben.apply().result["text"]
    assert all(sentence in ben.get(page).text for page in ("/requests/R0001", "/requests/R0001/report"))


def test_copies_are_shown_and_only_ticked_ones_are_added(desk, anna, pictures):
    answer = anna.send("/new", "/drafts", files=[("pictures", ("a.png", pictures(4), "image/png"))], label="1")
    place = answer.headers["location"].partition("?")[0]
    assert "looked through for copies" in anna.get(place).text
    take_jobs(desk.folder, desk.store, do)
    page = anna.get(place).text
    assert "the same pixels" in page
    assert page.count('name="include"') == 5
    assert 'name="include" value="0-4"' in page
    assert "checked" not in page
    assert anna.get(f"{place}/near/0/0").content.startswith(b"\x89PNG")
    assert anna.get(f"{place}/near/0/9").status_code == 404
    wrong = anna.send(place, f"{place}/request", include="0-59999")
    assert wrong.status_code == 400
    assert "<p>label 1</p>" in page
    refused = anna.do(place, f"{place}/request", include="0-4", label="2", new_label="")
    assert refused.state is JobState.FAILED
    assert "2 for 1, and 1 for 4 of the training data: the same picture; which is right?" in refused.error
    added = anna.do(place, f"{place}/request", include="0-4", label="1", new_label="")
    instances = desk.ledger().instances(desk.ledger().state.find("R0001"))
    assert added.state is JobState.DONE, added.error
    assert [one.id for one in instances] == ["1", "4"]
    assert instances[0].content == instances[1].content
    assert anna.get(place).status_code == 404, "a draft is gone once it is a request"
    assert not list((desk.folder / "desk" / "drafts").iterdir())


def test_a_table_labels_pictures_or_names_training_images(desk, anna, pictures):
    table = b"path,label,new_label\npicture1.png,1,2\nfolder/picture0.png,0,1\n"
    wrong = anna.send(
        "/new",
        "/drafts",
        files=[("pictures", ("picture0.png", pictures(0), "image/png")), ("table", ("t.csv", table, "text/csv"))],
    )
    assert wrong.status_code == 400
    table = b"path,label,new_label\npicture1.png,1,2\npicture0.png,0,1\n"
    added = anna.add(pictures(0), pictures(1), table=table)
    assert added.state is JobState.DONE, added.error
    ledger = desk.ledger()
    assert [(one.label, one.new_label) for one in ledger.instances(ledger.state.find("R0001"))] == [(0, 1), (1, 2)]
    assert ledger.state.find("R0001").goal == "relabel"
    added = anna.add(table=b"id\n5\n7\n")
    assert added.state is JobState.DONE, added.error
    ledger = desk.ledger()
    assert [(one.id, one.label) for one in ledger.instances(ledger.state.find("R0002"))] == [("5", 2), ("7", 1)]


def test_a_request_that_does_not_fit_fails_with_the_reason_and_writes_nothing(desk, anna, pictures):
    before = desk.ledger().last.number
    failed = anna.add(pictures(0), label="1")
    assert failed.state is JobState.FAILED
    assert "predicted as labelled" in failed.error
    assert desk.ledger().last.number == before
    assert "predicted as labelled" in anna.get(f"/?job={failed.id}").text


def test_pictures_that_were_deleted_are_given_once_more(desk, anna, ben, pictures):
    anna.add(pictures(2), label="2")
    ben.do("/requests/R0001", "/requests/R0001/approve")
    ben.apply()
    assert desk.ledger().state.find("R0001").images is None
    assert ">deleted<" in anna.get("/requests/R0001").text
    assert "before: " in anna.get("/requests/R0001").text
    answer = anna.send(
        "/new?again=R0001",
        "/drafts",
        files=[("pictures", ("a.png", pictures(2), "image/png"))],
        label="2",
        again="R0001",
    )
    place = answer.headers["location"]
    assert anna.do(place, f"{place}/request").state is JobState.DONE
    assert desk.ledger().state.find("R0001").images is not None
    for what in ("pictures", "fingerprints"):
        assert ben.delete(what, "R0001").state is JobState.DONE
    assert desk.ledger().state.find("R0001").images is None
    assert desk.ledger().state.find("R0001").fingerprints is None


def test_an_export_is_one_file_with_the_weights_and_the_card(desk, anna, ben, pictures):
    anna.add(pictures(0), label="0")
    exported = ben.do("/exports", "/export", format="safetensors")
    assert exported.state is JobState.DONE, exported.error
    found = anna.get(f"/exports/{exported.id}")
    with zipfile.ZipFile(BytesIO(found.content)) as archive:
        assert {"MODEL_CARD.md", "model.safetensors"} <= set(archive.namelist())
    noted = [entry.body["what"] for entry in desk.ledger().entries if entry.kind == "noted"]
    assert noted == ["signed in", "signed in", "exported"]


def test_a_job_that_was_killed_is_done_once(desk, anna, ben, pictures, monkeypatch):
    anna.add(pictures(0), label="0", keep_until=FAR)
    ben.do("/requests/R0001", "/requests/R0001/approve")
    ben.apply()
    from expunge.requests.desk import worker  # noqa: PLC0415

    real = worker.Store.update_job
    monkeypatch.setattr(worker.Store, "update_job", lambda *_: (_ for _ in ()).throw(SystemExit("killed")))
    ben.send("/", "/undo", version="1")
    with pytest.raises(SystemExit):
        take_jobs(desk.folder, desk.store, do)
    monkeypatch.setattr(worker.Store, "update_job", real)
    [job] = desk.store.open_jobs()
    assert (job.state, job.attempts) == (JobState.RUNNING, 1)
    take_jobs(desk.folder, desk.store, do)
    assert desk.store.find_job(job.id).state is JobState.DONE
    assert [entry.kind for entry in desk.ledger().entries].count("undone") == 1


def test_a_job_whose_process_dies_each_time_fails(desk, ben):
    ben.send("/ledger", "/verify")
    [job] = desk.store.open_jobs()
    for _ in range(3):
        job = desk.store.begin_job(job, 1)
    take_jobs(desk.folder, desk.store, do)
    assert "died 3 times" in desk.store.find_job(job.id).error


def test_a_job_that_is_cancelled_leaves_everything_as_it_was(desk, anna, ben, pictures, monkeypatch):
    import time  # noqa: PLC0415

    from expunge.requests.desk import work  # noqa: PLC0415

    anna.add(pictures(0), label="0")
    ben.do("/requests/R0001", "/requests/R0001/approve")
    number = desk.ledger().last.number

    def endless(*_, **__):
        [job] = desk.store.open_jobs()
        desk.store.cancel_job(job.id)
        time.sleep(30)

    monkeypatch.setattr(work, "apply_waiting", endless)
    job = ben.do("/requests/R0001", "/apply", request="R0001")
    assert job.state is JobState.CANCELLED
    assert desk.ledger().last.number == number
    ben.send("/ledger", "/verify")
    [waiting] = desk.store.open_jobs()
    ben.send("/jobs", f"/jobs/{waiting.id}/cancel")
    assert desk.store.find_job(waiting.id).state is JobState.CANCELLED


def test_an_error_that_ended_a_job_early_is_told_and_the_job_counts_as_failed():
    told = _reported(Report((), (), {}, (), (), error=OutputError("desk", "room", "none")))
    assert told["text"] == ["`desk`: expected room, got none. That ended the job; the other requests wait."]
    assert told["failed"]


def test_an_old_copy_of_a_job_is_not_done_again(desk, anna, ben, pictures, monkeypatch):
    anna.add(pictures(0), label="0", keep_until=FAR)
    approved = ben.do("/requests/R0001", "/requests/R0001/approve")
    ben.apply()
    undone = ben.do("/", "/undo", version="1")
    with desk.store._connected() as connection:
        connection.execute(
            "UPDATE jobs SET state = 'waiting', attempts = 0, entry = 0 WHERE kind IN ('approve', 'undo')"
        )
    take_jobs(desk.folder, desk.store, do)
    found = [desk.store.find_job(job.id) for job in (approved, undone)]
    assert [job.state for job in found] == [JobState.FAILED] * 2
    assert all("look at it again" in job.error for job in found)
    ben.send("/ledger", "/verify")
    [waiting] = desk.store.open_jobs()
    monkeypatch.setattr("expunge.requests.desk.worker.OLDEST_SECONDS", -1.0)
    take_jobs(desk.folder, desk.store, do)
    assert "more than a day" in desk.store.find_job(waiting.id).error


def test_two_browsers_that_undo_the_same_version_undo_one(desk, anna, ben, visitor, pictures):
    carla = visitor("carla", "approver")
    for row in (0, 3):
        anna.add(pictures(row), label="0", keep_until=FAR)
    for name in ("R0001", "R0002"):
        ben.do(f"/requests/{name}", f"/requests/{name}/approve")
        ben.apply(f"/requests/{name}", request=name)
    token = carla.token("/", "/undo")
    assert ben.do("/", "/undo", version="2").state is JobState.DONE
    second = carla.client.post("/undo", data={"form": token, "version": "2"}, follow_redirects=False)
    assert second.status_code == 409
    assert "newest version is 1 now" in second.text
    assert desk.ledger().state.newest == 1


def test_the_api_does_what_the_pages_do_and_is_described(desk, visitor, ben, pictures):
    jsonschema = pytest.importorskip("jsonschema")
    from expunge.requests.desk import openapi  # noqa: PLC0415
    from expunge.requests.desk.people import ROLES, give_role, invite  # noqa: PLC0415
    from expunge.requests.recovery import writing  # noqa: PLC0415

    client = visitor().client
    described = client.get("/api/v1/openapi.json").json()
    assert described == json.loads(json.dumps(openapi.describe()))
    schemas = {"$defs": described["components"]["schemas"]}
    resolve = json.loads(json.dumps(schemas).replace("#/components/schemas/", "#/$defs/"))

    def check(name, answer):
        jsonschema.validate(answer, {**resolve, "$ref": f"#/$defs/{name}"})
        return answer

    with writing(desk.folder) as ledger:
        give_role(ledger, "script", ROLES["requester"])
    token = invite(desk.store, "script", hours=1)
    session = check("Session", client.post("/api/v1/session", json={"token": token}).json())["session"]
    assert client.post("/api/v1/session", json={"token": token}).status_code == 401
    headers = {"authorization": f"Bearer {session}"}
    files = [("pictures", ("a.png", pictures(0), "image/png"))]
    begun = client.post("/api/v1/drafts", files=files, data={"label": "0", "due": "2999-01-01"}, headers=headers)
    assert begun.status_code == 201
    draft = check("Draft", begun.json())
    take_jobs(desk.folder, desk.store, do)
    found = check("Draft", client.get(f"/api/v1/drafts/{draft['id']}", headers=headers).json())
    assert found["near"][0][0]["same"]
    row = found["near"][0][0]["row"]
    sent = client.post(f"/api/v1/drafts/{draft['id']}/request", json={"include": [f"0-{row}"]}, headers=headers)
    assert sent.status_code == 202
    take_jobs(desk.folder, desk.store, do)
    job = check("Job", client.get(f"/api/v1/jobs/{sent.json()['id']}", headers=headers).json())
    assert job["requests"] == ["R0001"]
    check("RequestInFull", client.get("/api/v1/requests/R0001", headers=headers).json())
    check("Requests", client.get("/api/v1/requests", headers=headers).json())
    check("Retraining", client.get("/api/v1/retraining", headers=headers).json())
    check("Audits", client.get("/api/v1/audits", headers=headers).json())
    check("Project", client.get("/api/v1/project", headers=headers).json())
    entries = check("Entries", client.get("/api/v1/entries?after=1", headers=headers).json())
    assert entries["entries"][0]["number"] == 2
    check("Jobs", client.get("/api/v1/jobs", headers=headers).json())
    picture = client.get("/api/v1/requests/R0001/pictures/0", headers=headers)
    assert picture.headers["content-type"] == "image/png"
    refused = client.post("/api/v1/requests/R0001/approve", json={}, headers=headers)
    assert refused.status_code == 403
    check("Error", refused.json())
    assert client.post("/api/v1/verify", json={"odd": 1}, headers=headers).status_code == 400
    assert client.delete("/api/v1/session", headers=headers).status_code == 200
    assert client.get("/api/v1/project", headers=headers).status_code == 401
