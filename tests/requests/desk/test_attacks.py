"""One attack a test, and what the desk does about it."""

import io
import os
import select
import socket
import struct
import time
import zlib
from contextlib import closing, suppress
from dataclasses import replace
from http.client import HTTPConnection

import pytest
from desk_project import DeskServer
from PIL import Image
from starlette.routing import Route
from starlette.testclient import TestClient

from expunge.base.errors import DataError
from expunge.data.forget import ForgetSet
from expunge.requests.approval import lacking_approval
from expunge.requests.create import create_project
from expunge.requests.desk import people, store
from expunge.requests.desk.api import OPERATIONS, ROOT
from expunge.requests.desk.app import PAGES, make_app
from expunge.requests.desk.decoding import Upload, decode_apart, read_table
from expunge.requests.desk.drafts import new_draft, write_draft
from expunge.requests.desk.limits import MOST_BYTES
from expunge.requests.desk.people import invite, sign_in
from expunge.requests.desk.store import JobState
from expunge.requests.desk.web import Desk
from expunge.requests.desk.work import do
from expunge.requests.desk.worker import take_jobs
from expunge.requests.receive import RequestOptions, receive
from expunge.requests.recovery import writing

OPEN = {"/login", "/api/v1/session", "/api/v1/openapi.json"}
SCRIPTS = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "' autofocus onfocus=alert(1) x='")


def address_of(path):
    """Return an address of a route, with something in each of its fields."""
    fields = {"draft": "0" * 16, "name": "R0001", "number": 0, "place": 0, "job": "0" * 16, "export": "x"}
    return path.replace(":int", "").format(**fields, what="pictures", audit="0" * 16)


def every_route(desk):
    for route in make_app(desk).routes:
        if isinstance(route, Route) and route.path not in OPEN:
            for method in sorted(route.methods - {"HEAD"}):
                yield method, address_of(route.path)


# No token, wrong role


def test_without_a_session_no_address_answers(desk, visitor):
    client = visitor().client
    count = 0
    for method, path in every_route(desk):
        answer = client.request(method, path)
        assert answer.status_code == 401, (method, path)
        assert "R0001" not in answer.text
        count += 1
    assert count > 40
    wrong = {"authorization": "Bearer " + "x" * 43}
    assert client.get("/api/v1/requests", headers=wrong).status_code == 401
    assert client.get("/api/v1/requests", headers={"cookie": f"{desk.cookie}=x"}).status_code == 401


def test_a_link_signs_in_once_and_looking_at_it_does_not_use_it_up(desk, visitor):
    with writing(desk.folder) as ledger:
        people.give_role(ledger, "anna", people.Role.READER)
    token = invite(desk.store, "anna", hours=1)
    client = visitor().client
    assert "Sign in as anna" in client.get("/login", params={"token": token}).text
    assert client.post("/login", data={"token": token}, follow_redirects=False).status_code == 303
    assert visitor().client.post("/login", data={"token": token}).status_code == 401
    assert visitor().client.post("/login", data={"token": "guess"}).status_code == 401
    late = invite(desk.store, "anna", hours=-1)
    assert visitor().client.post("/login", data={"token": late}).status_code == 401


def test_a_role_does_what_it_may_and_no_more(desk, visitor):
    reader, requester = visitor("rita", "reader"), visitor("anna", "requester")
    for who, role in ((reader, people.Role.READER), (requester, people.Role.REQUESTER)):
        for method, path, needed, _ in PAGES:
            if needed > role:
                assert who.client.request(method, address_of(path)).status_code == 403, (method, path)
    assert 'action="/apply"' not in requester.get("/").text
    assert "New request" not in reader.get("/").text


def test_a_role_does_no_more_by_the_api(desk, visitor):
    count = 0
    for name, role in (("rita", people.Role.READER), ("anna", people.Role.REQUESTER)):
        who = visitor(name, role.word)
        headers = {"authorization": f"Bearer {who.client.cookies[desk.cookie]}"}
        for one in OPERATIONS:
            if one.role > role:
                answer = who.client.request(one.method, ROOT + address_of(one.path), headers=headers, json={})
                assert answer.status_code == 403, one.name
                assert one.role.word in answer.json()["error"]
                count += 1
    assert count > 15
    assert desk.store.open_jobs() == []


def test_a_person_whose_role_was_taken_is_out_at_once(desk, visitor):
    ben = visitor("ben", "approver")
    assert ben.get("/").status_code == 200
    with writing(desk.folder) as ledger:
        people.dismiss(ledger, desk.store, "ben")
    assert ben.get("/").status_code == 401


def test_sessions_end(desk, visitor, monkeypatch):
    rita = visitor("rita")
    now = time.time()
    monkeypatch.setattr(store.time, "time", lambda: now + 59 * 60)
    assert rita.get("/").status_code == 200
    monkeypatch.setattr(store.time, "time", lambda: now + 59 * 60 + 61 * 60)
    assert rita.get("/").status_code == 401
    monkeypatch.undo()
    busy = visitor("busy")
    for minutes in range(50, 13 * 60, 50):
        monkeypatch.setattr(store.time, "time", lambda minutes=minutes: now + 60 * minutes)
        last = busy.get("/jobs").status_code
    assert last == 401, "a session ends after half a day, however busy"
    monkeypatch.undo()
    left = visitor("left")
    assert left.send("/", "/sign-out").status_code == 200
    assert left.get("/").status_code == 401


def test_rows_that_somebody_wrote_into_the_desks_file_give_no_right(desk, visitor):
    rita = visitor("rita")
    with desk.store._connected() as connection:
        assert connection.execute("UPDATE sessions SET person = 'ben'").rowcount == 1
    assert rita.get("/").status_code == 401
    token = invite(desk.store, "rita", hours=1)
    with desk.store._connected() as connection:
        connection.execute("UPDATE invitations SET person = 'ben'")
    assert sign_in(desk.store, token) is None
    job = desk.store.add_job("undo", "rita", {"version": 1})
    with desk.store._connected() as connection:
        connection.execute("UPDATE jobs SET person = 'ben'")
    assert desk.store.find_job(job.id) is None
    assert desk.store.open_jobs() == []


def test_nobody_approves_what_they_added(desk, visitor, pictures):
    ben = visitor("ben", "approver")
    ben.add(pictures(0), label="0")
    assert "somebody else has to approve" in ben.get("/requests/R0001").text
    token = ben.client.get("/requests/R0001")
    assert token.status_code == 200
    seen = desk.ledger().state.find("R0001").history[-1]
    desk.store.add_job("approve", "ben", {"request": "R0001", "seen": seen})
    desk.store.add_job("apply", "ben", {"requests": ["R0001"], "start": "newest"})
    jobs = desk.store.open_jobs()
    take_jobs(desk.folder, desk.store, do)
    states = [desk.store.find_job(job.id) for job in jobs]
    assert [job.state for job in states] == [JobState.FAILED] * 2
    assert "did not add it" in states[0].error
    assert "was approved" in states[1].error


def test_what_nobody_signed_is_approved_by_two(desk, visitor, rows_of):
    with writing(desk.folder) as ledger:
        receive(ledger, rows_of(1, seed=0), RequestOptions(minimum_right=0.0))
    ben, carla = visitor("ben", "approver"), visitor("carla", "approver")
    ben.do("/requests/R0001", "/requests/R0001/approve")
    assert "Nobody says who added it, so somebody else has to approve it" in ben.get("/requests/R0001").text
    assert lacking_approval(desk.ledger().state) == ["R0001"]
    carla.do("/requests/R0001", "/requests/R0001/approve")
    assert lacking_approval(desk.ledger().state) == []


# Forged and replayed forms


def test_a_form_of_another_site_is_refused(desk, visitor):
    ben = visitor("ben", "approver")
    assert ben.client.post("/verify").status_code == 403
    assert ben.client.post("/verify", data={"form": "made.up"}).status_code == 403
    token = ben.token("/ledger", "/verify")
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert ben.client.post("/verify", data={"form": token}, headers=headers).status_code == 403
    assert ben.client.post("/sign-out", data={"form": token}).status_code == 403, "a form is for one address"
    other = visitor("carla", "approver")
    assert other.client.post("/verify", data={"form": token}).status_code == 403, "a form is for one session"
    assert ben.client.post("/api/v1/verify", json={}).status_code == 401, "the API takes no cookie where it writes"
    assert desk.store.open_jobs() == []
    assert ben.client.post("/verify", data={"form": token}).status_code == 200
    assert len(desk.store.open_jobs()) == 1


def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_only(desk, visitor):
    with writing(desk.folder) as ledger:
        people.give_role(ledger, "anna", people.Role.READER)
    client, token = visitor().client, invite(desk.store, "anna", hours=1)
    headers = {"origin": "https://testserver"}
    answer = client.post("/login", data={"token": token}, headers=headers, follow_redirects=False)
    assert answer.status_code == 303
    assert "Secure" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]


def test_a_form_that_is_sent_again_is_refused(desk, visitor):
    ben = visitor("ben", "approver")
    token = ben.token("/ledger", "/verify")
    answers = [ben.client.post("/verify", data={"form": token}, follow_redirects=False) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 409]
    assert "sent before" in answers[1].text
    assert len(desk.store.open_jobs()) == 1


def test_another_host_name_is_refused(desk):
    client = TestClient(make_app(desk), base_url="http://evil.example")
    assert client.get("/login?token=x").status_code == 400
    assert TestClient(make_app(desk), base_url="http://127.0.0.1:8765").get("/login?token=x").status_code == 401


def test_every_answer_has_the_policy_and_no_page_an_inline_script(desk, visitor, pictures):
    ben = visitor("ben", "approver")
    ben.add(pictures(0), label="0")
    paths = ("/", "/new", "/requests/R0001", "/requests/R0001/report", "/ledger", "/jobs", "/exports", "/nowhere")
    for path in (*paths, "/audits", "/retraining", "/delete", "/delete/pictures", "/delete/versions"):
        answer = ben.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.text.count("<script") == 1
        assert "style=" not in answer.text
        assert " on" + "click" not in answer.text
    cookie = ben.client.cookies.jar
    assert all(each.has_nonstandard_attr("HttpOnly") for each in cookie)
    refused = visitor().client.get("/")
    assert refused.headers["x-frame-options"] == "DENY"


# Hostile text, names and files


def test_a_script_in_an_id_or_a_reference_is_text(desk, visitor):
    ben = visitor("ben", "approver")
    pages = []
    for number, script in enumerate(SCRIPTS, 1):
        draft = new_draft("ben", [], {"reference": script, "due": "2999-01-01"})
        draft.rows = {script: "", "4": ""}
        write_draft(desk.folder, desk.store.keys, draft)
        failed = ben.do(f"/drafts/{draft.id}", f"/drafts/{draft.id}/request")
        assert failed.state is JobState.FAILED, "there is no training image of that name"
        pages += [ben.get(f"/drafts/{draft.id}").text, ben.get(f"/?job={failed.id}").text]
        draft.rows = {str(number): ""}
        write_draft(desk.folder, desk.store.keys, draft)
        assert ben.do(f"/drafts/{draft.id}", f"/drafts/{draft.id}/request").state is JobState.DONE
        pages += [ben.get(f"/requests/R000{number}{rest}").text for rest in ("", "/report")]
    pages += [ben.get(path).text for path in ("/", "/ledger", "/jobs")]
    for page in pages:
        assert not any(script in page for script in SCRIPTS if "{{" not in script)
    assert "{{7*7}}" in ben.get("/").text, "a template in a reference is not filled"


def test_a_script_in_the_id_of_an_image_is_text(desk, visitor, rows_of):
    ben = visitor("ben", "approver")
    rows = rows_of(len(SCRIPTS), seed=0)
    with writing(desk.folder) as ledger:
        receive(ledger, ForgetSet(SCRIPTS, rows.x, rows.y), RequestOptions(minimum_right=0.0))
    draft = new_draft("ben", [b"x"], {})
    near = {"row": 1, "label": 0, "same": False, "alike": True, "bits": 9, "correlation": 0.9, "features": None}
    draft.near = [[{**near, "id": script, "picture": b"x"} for script in SCRIPTS]]
    write_draft(desk.folder, desk.store.keys, draft)
    paths = ("/requests/R0001", "/requests/R0001/report", f"/drafts/{draft.id}", "/ledger", "/retraining")
    for path in paths:
        text = ben.get(path).text
        assert not any(script in text for script in SCRIPTS if "{{" not in script), path
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in ben.get(paths[0]).text
    assert "{{7*7}}" in ben.get(paths[2]).text
    for path in ("/api/v1/requests/R0001", "/retraining/rows"):
        kind = ben.get(path).headers["content-type"]
        assert kind.startswith(("application/json", "text/csv")), "no browser takes it for a page"


def test_half_of_a_surrogate_pair_is_refused(desk, visitor):
    anna = visitor("anna", "requester")
    headers = {"authorization": f"Bearer {anna.client.cookies[desk.cookie]}", "content-type": "application/json"}
    body = b'{"reason": "\\ud800"}'
    answer = anna.client.post("/api/v1/requests/R0001/withdraw", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json() == {"error": "The body is no JSON."}


def test_a_path_in_a_file_name_reaches_no_file(desk, visitor, pictures, tmp_path, files_of):
    anna = visitor("anna", "requester")
    before = set(files_of(tmp_path))
    names = ("../../escape.png", "/etc/passwd", "..\\escape.png", "a\0b.png", "x" * 500 + ".png")
    files = [("pictures", (name, pictures(0), "image/png")) for name in names]
    answer = anna.send("/new", "/drafts", files=files, label="0")
    assert answer.status_code in (303, 400)
    made = set(files_of(tmp_path)) - before
    assert all(name.startswith("project/desk/") for name in made), made
    assert not any("escape" in name for name in made)


def test_pictures_that_came_in_lie_nowhere_unsealed(desk, visitor, pictures, tmp_path, files_of):
    anna = visitor("anna", "requester")
    content = pictures(0)
    anna.send("/new", "/drafts", files=[("pictures", ("a.png", content, "image/png"))], label="0")
    anna.add(content, label="0")
    assert not any(content[20:60] in held for held in files_of(tmp_path).values())
    if os.name == "posix":
        assert (desk.folder / "desk").stat().st_mode & 0o077 == 0


def test_an_upload_of_200_megabytes_is_refused(desk, visitor):
    anna = visitor("anna", "requester")

    def body():
        for _ in range(200):
            yield bytes(1 << 20)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    told = anna.client.post("/drafts", content=b"x", headers={**headers, "content-length": str(200 << 20)})
    assert told.status_code == 413
    untold = anna.client.post("/drafts", content=body(), headers=headers)
    assert untold.status_code in (400, 413)
    small = anna.client.post(
        "/verify", content=bytes(2 << 20), headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert small.status_code == 413
    assert MOST_BYTES < 200 << 20


def test_a_server_hears_no_more_of_200_megabytes_than_it_takes(desk, inputs):
    server = DeskServer(desk.folder, inputs)
    server.start()
    try:
        token = server.invite("anna", "requester").partition("token=")[2]
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            kind = {"content-type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/login", f"token={token}", kind)
            cookie = connection.getresponse().headers["set-cookie"].partition(";")[0]
        for length in ({"content-length": str(200 << 20)}, {"transfer-encoding": "chunked"}):
            sent, status = upload(server.port, {"cookie": cookie, **length})
            assert status == 413
            assert sent < MOST_BYTES + (16 << 20), length
        assert server.process.poll() is None
    finally:
        server.stop()


def upload(port, headers):
    """Send 200 MiB until an answer comes, and return how many bytes went out, and its status."""
    chunked = "transfer-encoding" in headers
    head = {"host": "127.0.0.1", "content-type": "multipart/form-data; boundary=x", **headers}
    part = b'--x\r\nContent-Disposition: form-data; name="pictures"; filename="a.png"\r\n\r\n'
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall(b"POST /drafts HTTP/1.1\r\n" + lines_of(head))
        with suppress(ConnectionError):
            for number in range(200):
                block = (part if number == 0 else b"") + bytes(1 << 20)
                wire.sendall(f"{len(block):x}\r\n".encode() + block + b"\r\n" if chunked else block)
                sent += len(block)
                if select.select([wire], [], [], 0)[0]:
                    break
        return sent, int(wire.recv(64).split()[1])


def lines_of(headers):
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n"


def test_too_many_pictures_and_fields_are_refused(desk, visitor):
    anna = visitor("anna", "requester")
    files = [("pictures", (f"{number}.png", b"x", "image/png")) for number in range(300)]
    answer = anna.send("/new", "/drafts", files=files, label="0")
    assert answer.status_code == 400
    many = {f"field{number}": "x" for number in range(3000)}
    assert anna.client.post("/drafts", data=many).status_code in (400, 403)


def make_bomb(side):
    """Return a PNG file of a few kilobytes that holds side x side pixels."""
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(side // 8 + 1)) for _ in range(side)) + rows.flush()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "content", [make_bomb(20_000), b"GIF89a" + bytes(50), b"%!PS-Adobe", b"", b"\x89PNG\r\n\x1a\n"]
)
def test_a_decompression_bomb_or_a_broken_picture_is_refused_elsewhere(desk, visitor, content):
    anna = visitor("anna", "requester")
    answer = anna.send("/new", "/drafts", files=[("pictures", ("bomb.png", content, "image/png"))], label="0")
    assert answer.status_code == 400
    assert anna.get("/").status_code == 200


def test_a_picture_that_kills_its_decoder_is_refused(monkeypatch):
    from expunge.requests.desk import decoding  # noqa: PLC0415

    monkeypatch.setattr(decoding, "DECODING_SECONDS", 0.0)
    with pytest.raises(DataError, match="what is read in"):
        decode_apart([Upload("a", b"x")], None)


def test_pictures_of_all_kinds_become_rgb(pictures):
    grey = io.BytesIO()
    Image.new("L", (3, 2), 7).save(grey, "TIFF")
    decoded, lines = decode_apart([Upload("a", pictures(0)), Upload("b", grey.getvalue())], b"id\n4\n")
    assert [Image.open(io.BytesIO(one)).mode for one in decoded] == ["RGB", "RGB"]
    assert lines == [{"path": "", "id": "4", "label": "", "new_label": ""}]


@pytest.mark.parametrize(
    "table", [b"", b"\xff\xfe\0", b"name\n1\n", b"id,label\n" + b"x" * 300 + b",1\n", b"id\n" * 20_000]
)
def test_tables_that_are_none_are_refused(table):
    with pytest.raises(DataError):
        read_table(table)


# Another project's files


def test_another_projects_requests_drafts_and_exports_are_out_of_reach(desk, visitor, plan, tmp_path, pictures):
    create_project(tmp_path / "other", replace(plan, key="../other.key"))
    other = Desk.open(tmp_path / "other")
    mine = visitor("anna", "requester")
    theirs = new_draft("anna", [pictures(0)], {})
    write_draft(other.folder, other.store.keys, theirs)
    assert mine.get(f"/drafts/{theirs.id}").status_code == 404
    place = desk.folder / "desk" / "drafts"
    place.mkdir(parents=True)
    (place / f"{theirs.id}.sealed").write_bytes((other.folder / "desk" / "drafts" / f"{theirs.id}.sealed").read_bytes())
    assert mine.get(f"/drafts/{theirs.id}").status_code == 404, "sealed with another project's key"
    (other.folder / "desk" / "exports" / "abc").mkdir(parents=True)
    (other.folder / "desk" / "exports" / "abc" / "model.safetensors").write_bytes(b"weights")
    for path in (
        "/exports/abc",
        "/exports/..%2f..%2f..%2fother%2fdesk%2fexports%2fabc",
        "/exports/%2e%2e",
        "/requests/..%2f..%2fother/pictures/0",
        "/requests/R9999",
        "/requests/R0001%00/pictures/0",
        "/requests/R9999/pictures/-1",
        "/drafts/..%2f..%2f..%2fother%2fdesk%2fdrafts%2f" + theirs.id,
        "/static/..%2f..%2f..%2fproject.toml",
        "/static/%2e%2e/app.py",
        f"/jobs/{'0' * 16}/cancel",
        "/api/v1/jobs/x",
    ):
        assert mine.get(path).status_code in (400, 404, 405), path
    assert TestClient(make_app(other, ["testserver"]), cookies=mine.client.cookies).get("/").status_code == 401
    named = mine.add(table=f"id\nnpz:{tmp_path / 'other'}\n".encode())
    assert named.state is JobState.FAILED


def test_a_draft_of_somebody_else_is_not_shown(desk, visitor, pictures):
    draft = new_draft("anna", [pictures(0)], {})
    write_draft(desk.folder, desk.store.keys, draft)
    assert visitor("rudi", "requester").get(f"/drafts/{draft.id}").status_code == 404
    assert visitor("ben", "approver").get(f"/drafts/{draft.id}").status_code == 200
