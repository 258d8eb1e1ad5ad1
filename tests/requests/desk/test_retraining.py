"""What the desk says of rows that were forgotten earlier: what holds them, what edits found, what retraining needs."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import date

import pytest

from expunge._version import __version__
from expunge.requests.create import create_project
from expunge.requests.desk.retraining import tell_retraining
from expunge.requests.desk.store import JobState
from expunge.requests.desk.view import tell_project
from expunge.requests.desk.web import Desk
from expunge.requests.project import Ledger
from expunge.requests.receive import RequestOptions, receive
from expunge.requests.recovery import writing
from expunge.requests.verify import verify_folder
from expunge.task.task import Strength

FAR = "2999-12-31"
pytestmark = pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
QUICK = {"surrogates": {"inverted": 0, "procedural": 60, "mixes": 60}, "exact": {"steps": 6}}


@pytest.fixture
def keeping(plan, tmp_path):
    """Return the desk of an empty project that makes keepers."""
    folder = tmp_path / "keeping"
    create_project(folder, replace(plan, method="least-change", settings=QUICK, strength=Strength.EXACT, keepers=True))
    return Desk.open(folder)


def add_rows(desk, rows, **options):
    """Add a request whatever the classifier says of its rows now: earlier edits may have changed it."""
    with writing(desk.folder) as ledger:
        receive(ledger, rows, RequestOptions(minimum_right=0.0, **options))


def held_of(page):
    """Return pictures by what holds them."""
    rows = re.findall(r'<tr><th scope="row">([\w ]+)</th><td>(\d+)</td><td>', page)
    return {name: int(count) for name, count in rows if name in ("keepers", "kept pictures", "nothing")}


def test_a_project_with_keepers_says_what_holds_each_row_and_what_edits_found(keeping, make_visitor, rows_of):
    ben = make_visitor(keeping, "ben", "approver")
    for numbers, keep in (([0, 3], None), ([1], date(2999, 12, 31)), ([2], None)):
        add_rows(keeping, rows_of(4, seed=0).rows(numbers), keep_until=keep)
        applied = ben.apply()
    assert "3 earlier pictures checked, 0 came back and were repaired." in applied.result["text"]
    page = ben.get("/retraining").text
    assert held_of(page) == {"keepers": 4, "kept pictures": 0, "nothing": 0}
    assert "Held: every edit keeps them forgotten" in page
    request = ben.get("/requests/R0001").text
    assert "a keeper of each picture; checked by version 2, 3" in request
    assert ben.delete("keepers", "R0001").state is JobState.DONE
    assert held_of(ben.get("/retraining").text) == {"keepers": 2, "kept pictures": 0, "nothing": 2}
    add_rows(keeping, rows_of(5, seed=0).rows([4]))
    assert "Not checked, since nothing of them is kept: R0001." in ben.apply().result["text"]
    request = ben.get("/requests/R0001").text
    assert "nothing: later edits may bring it back unseen; checked by version 2, 3; not checked by version 4" in request
    assert re.search(r'class="bad">R0001<', ben.get("/retraining").text)
    assert verify_folder(keeping.folder).problems == ()


def test_drift_and_plan_are_a_page_a_table_and_part_of_the_api(desk, anna, ben, pictures, rows_of):
    empty = ben.get("/retraining").text
    assert "0.00 of 50 points are spent" in empty
    assert "Nothing was applied yet" in empty
    anna.add(pictures(0), label="0", keep_until=FAR)
    anna.add(table=b"id,new_label\n4,0\n")
    ben.do("/requests/R0001", "/requests/R0001/approve")
    ben.apply("/requests/R0001", request="R0001")
    page = ben.get("/retraining").text
    assert "measured on 30 images (test data)" in page
    assert "2 images of 2 requests: train ledger_networks:build" in page.replace("&#39;", "'")
    assert page.count("nobody has looked") == 2
    assert held_of(page) == {"keepers": 0, "kept pictures": 1, "nothing": 0}
    assert 'action="/retraining"' not in anna.get("/retraining").text
    looked = ben.do("/retraining", "/retraining")
    assert looked.state is JobState.DONE, looked.error
    assert "found in the training data: 2 of 2" in looked.result["text"]
    page = anna.get("/retraining").text
    assert "Found in the training data: 2 of 2" in page
    assert "nobody has looked" not in page
    rows = list(csv.DictReader(io.StringIO(anna.get("/retraining/rows").text)))
    assert [(one["request"], one["row"], one["id"]) for one in rows] == [("R0001", "0", "0")]
    rows = list(csv.DictReader(io.StringIO(anna.get("/retraining/labels").text)))
    assert [(one["request"], one["row"], one["new_label"]) for one in rows] == [("R0002", "4", "0")]
    told = anna.get("/api/v1/retraining").json()
    assert [one["found"] for one in told["requests"]] == [1, 1]
    assert told["versions"][0]["not_checked"] == []
    assert told["drift"]["budget"] == 50
    for what in ("rows", "labels"):
        assert anna.get(f"/api/v1/retraining/{what}").headers["content-type"].startswith("text/csv")
    [sealed] = (desk.folder / "index").glob("places*")
    with pytest.raises(ValueError, match=r"."):  # unsealed it is JSON
        json.loads(sealed.read_bytes())
    add_rows(desk, rows_of(7, seed=0).rows([6]))
    assert anna.get("/retraining").text.count("nobody has looked") == 1, "a request that came later was not looked for"


def test_over_the_budget_the_desk_says_that_it_is_time_to_retrain(plan, tmp_path, make_visitor):
    create_project(tmp_path / "tight", replace(plan, budget=0.001))
    desk = Desk.open(tmp_path / "tight")
    ben = make_visitor(desk, "ben", "approver")
    ben.add(table=b"id\n0\n")
    with writing(desk.folder) as ledger:
        drift = {"spent": 4.0, "budget": 0.001, "over_budget": True, "measured_on": "test data", "accuracy": None}
        drift |= {"images": 30, "churn": 4.0, "accuracy_first": None}
        figures = {"checked": 0, "repaired": [], "uncheckable": [], "steps": 1, "drift": drift}
        made = {"version": 1, "parent": 0, "base_sha256": "", "requests": ["R0001"], "figures": figures}
        made |= {"result_sha256": ledger.state.weights_sha256, "patch": {"path": "", "sha256": "", "bytes": 0}}
        ledger.append([("applied", made)])
    for page in ("/", "/retraining"):
        assert "Over the budget: it is time to retrain." in ben.get(page).text
    assert Ledger.open(desk.folder).state.newest == 1


def test_an_estimate_on_surrogates_is_no_verdict_even_where_an_old_entry_has_one(plan, tmp_path, make_visitor, rows_of):
    create_project(tmp_path / "blind", replace(plan, data=None, budget=0.001))
    desk = Desk.open(tmp_path / "blind")
    ben = make_visitor(desk, "ben", "approver")
    add_rows(desk, rows_of(1, seed=0))
    job = ben.apply()
    assert not any("budget" in line for line in job.result["text"])
    ledger = Ledger.open(desk.folder)
    ledger.state.versions[1].figures["drift"]["over_budget"] = True
    assert tell_project(ledger.state)["over_budget"] is None
    assert tell_retraining(ledger.state, None)["drift"]["over_budget"] is None
    for page in (ben.get("/").text, ben.get("/retraining").text):
        assert "% of the answers to surrogates changed" in page
        assert "can&#39;t be told without test images" in page
        assert "time to retrain" not in page
    assert "<meter" not in ben.get("/retraining").text


def test_each_kind_of_deletion_says_what_cannot_be_done_afterwards_and_asks_once_more(desk, anna, ben, pictures):
    anna.add(pictures(0), label="0", keep_until=FAR)
    ben.do("/requests/R0001", "/requests/R0001/approve")
    ben.apply()
    (desk.folder / "quarantine").mkdir()
    (desk.folder / "quarantine" / "odd").write_bytes(b"odd")
    page = ben.get("/delete").text
    for words in (
        "1 picture of 1 request",
        "1 perceptual hash of",
        "2 files",
        "1 file",
        "There is no way back",
        "no longer found",
    ):
        assert words in page, words
    assert page.count("There is nothing of this kind") == 2, "no day has passed, and there is no keeper"
    assert "/delete/versions" not in ben.get("/delete?request=R0001").text
    before = desk.ledger().last.number
    assert f"<footer>expunge {__version__}<" in ben.get("/delete/versions").text
    refused = ben.send("/delete/pictures", "/purge", what="pictures")
    assert refused.status_code == 400
    assert "Nobody can look at them any more" in refused.text
    stale = ben.send("/delete/versions", "/purge", what="versions", version="0", confirmed="yes")
    assert stale.status_code == 409
    assert ben.get("/delete/everything").status_code == 404
    assert ben.get("/delete/versions?request=R0001").status_code == 400
    assert ben.get("/delete/pictures?request=R0009").status_code == 404
    assert anna.get("/delete").status_code == anna.get("/delete/pictures").status_code == 403
    assert desk.store.open_jobs() == []
    assert desk.ledger().last.number == before
    for what in ("pictures", "fingerprints", "versions", "quarantine"):
        job = ben.delete(what)
        assert job.state is JobState.DONE, job.error
        assert " 0 deleted" not in job.result["text"][0], what
    state = desk.ledger().state
    assert (state.base, state.find("R0001").images, state.find("R0001").fingerprints) == (1, None, None)
    made = [entry for entry in desk.ledger().entries if entry.number > before]
    assert [entry.kind for entry in made] == ["purged", "purged", "rebased", "noted"]
    assert {entry.body["actor"] for entry in made} == {"ben"}
    assert "Undo" not in ben.get("/").text
    assert verify_folder(desk.folder).problems == ()


def test_what_came_after_the_yes_is_not_deleted(desk, anna, ben, pictures):
    for row in (0, 3):
        anna.add(pictures(row), label="0", keep_until=FAR)
    ben.do("/requests/R0001", "/requests/R0001/approve")
    ben.apply("/requests/R0001", request="R0001")
    seen = str(desk.ledger().last.number)
    ben.do("/requests/R0002", "/requests/R0002/approve")
    ben.apply("/requests/R0002", request="R0002")
    job = ben.do("/delete/pictures", "/purge", what="pictures", confirmed="yes", seen=seen)
    assert job.state is JobState.DONE, job.error
    state = desk.ledger().state
    assert state.find("R0001").images is None
    assert state.find("R0002").images is not None


def test_a_script_deletes_only_what_it_confirms(desk, anna, ben, pictures):
    anna.add(pictures(0), label="0", keep_until=FAR)
    ben.do("/requests/R0001", "/requests/R0001/approve")
    ben.apply()
    headers = {"authorization": f"Bearer {ben.client.cookies[desk.cookie]}"}
    for body in (
        {"what": "pictures"},
        {"what": "pictures", "confirmed": False},
        {"what": "nothing", "confirmed": True},
    ):
        assert ben.client.post("/api/v1/purge", json=body, headers=headers).status_code in (400, 404), body
    done = ben.client.post("/api/v1/purge", json={"what": "pictures", "confirmed": True}, headers=headers)
    assert done.status_code == 202
    late = ben.client.post("/api/v1/purge", json={"what": "versions", "confirmed": True, "version": 7}, headers=headers)
    assert late.status_code == 409
