"""The commands around the desk: invite, dismiss, serve; and what `init` and `add` learned."""

import re
import subprocess
import sys

import pytest
from PIL import Image
from small_job import QUICK_FLAGS

pytest.importorskip("starlette")

from expunge.requests.desk.store import Store
from expunge.requests.desk.work import do
from expunge.requests.desk.worker import take_jobs
from expunge.requests.project import Ledger
from expunge.task.outcome import Health

UNAPPROVED = "nothing is to be applied\nR0001 waits for approval at the desk: expunge requests serve\n"


@pytest.fixture
def project(job, expunge, monkeypatch):
    monkeypatch.setattr(Health, "ruined", False)  # so small a classifier is, by most edits
    made = expunge(
        *("requests", "init", "project", "--model", "tiny_networks:build", "--weights", "weights.safetensors"),
        *("--mean", "0.5", "--std", "0.25", "--data", "npz:images.npz", "--method", "l2ul", "--approval", "two"),
        *(*QUICK_FLAGS, "--budget", "90"),
    )
    assert made.code == 0, made.err
    monkeypatch.setenv("EXPUNGE_PROJECT", "project")
    return job.folder / "project"


def test_a_link_is_printed_and_the_role_stands_in_the_ledger(project, expunge):
    invited = expunge("requests", "invite", "anna", "--role", "requester", "--port", "9000")
    assert invited.code == 0, invited.err
    token = re.fullmatch(r"http://127\.0\.0\.1:9000/login\?token=([\w-]{40,})\n", invited.out)[1]
    ledger = Ledger.open(project)
    assert ledger.state.people == {"anna": "requester"}
    assert Store.open(project, ledger.keys).find_invitation(token) == "anna"
    assert token.encode() not in b"".join(path.read_bytes() for path in project.rglob("*") if path.is_file())
    assert expunge("requests", "invite", "anna", "--role", "requester", "--by", "ben").code == 0
    assert expunge("requests", "dismiss", "anna", "--by", "ben").code == 0
    told = [(entry.kind, entry.body["actor"], entry.body["person"]) for entry in Ledger.open(project).entries[1:]]
    assert told == [("invited", "(command line)", "anna"), ("dismissed", "ben", "anna")]
    store = Store.open(project, ledger.keys)
    assert [job.person for job in store.open_jobs()] == ["ben"], "another link waits for no edit that is under way"
    take_jobs(project, store, do)
    noted = Ledger.open(project).last
    assert (noted.kind, noted.body["what"], noted.body["of"], noted.body["actor"]) == (
        "noted",
        "invited",
        "anna",
        "ben",
    )
    assert Ledger.open(project).state.people == {}
    assert Store.open(project, ledger.keys).find_invitation(token) is None
    unknown = expunge("requests", "dismiss", "anna")
    assert unknown.code == 2
    assert "a person of the desk (nobody yet)" in unknown.err
    odd = expunge("requests", "invite", "<b>anna</b>")
    assert odd.code == 2
    assert "initials will do" in odd.err


def test_who_approves_is_changed_by_name_only_and_lowering_it_is_an_entry_too(project, expunge):
    added = expunge("requests", "add", "--data", "npz:images.npz", "--rows", "0", "--keep-until", "2999-12-31")
    assert added.code == 0, added.err
    nobody = expunge("requests", "approval", "none")
    assert nobody.code == 2
    assert "somebody who says who approves, got nobody" in nobody.err
    assert expunge("requests", "approval", "none", "--by", "(command line)").code == 2
    same = expunge("requests", "approval", "two", "--by", "ben")
    assert same.code == 2
    assert "it is so already" in same.err
    assert len(Ledger.open(project).entries) == 3
    lowered = expunge("requests", "approval", "none", "--by", "ben")
    assert (lowered.code, lowered.out) == (0, "approval: none (before: two), by ben\n")
    [entry] = [entry for entry in Ledger.open(project).entries if entry.kind == "approval"]
    assert entry.body == {"actor": "ben", "approval": "none", "before": "two"}
    assert expunge("requests", "approval", "one", "--by", "ben").code == 0
    assert expunge("requests", "apply").out == UNAPPROVED
    assert expunge("requests", "approval", "none", "--by", "ben").code == 0
    assert "R0001 forgotten" in expunge("requests", "apply").out
    assert expunge("requests", "verify").code == 0


def test_what_was_not_approved_is_not_applied_on_the_command_line_either(project, expunge):
    words = ("requests", "add", "--data", "npz:images.npz", "--rows", "0", "--due", "2999-01-01", "--by")
    added = expunge(*words, "anna")
    assert added.code == 0, added.err
    assert expunge(*words, "(somebody)").code == 2
    assert Ledger.open(project).state.find("R0001").by == "anna"
    assert Ledger.open(project).state.find("R0001").due == "2999-01-01"
    applied = expunge("requests", "apply")
    assert (applied.code, applied.out) == (0, UNAPPROVED)
    assert UNAPPROVED.splitlines()[1] in expunge("requests", "list").out.splitlines()
    assert "R0001: 1 instance, misclassify, validated; somebody has to approve it at the desk" in added.out
    named = expunge("requests", "apply", "R0001")
    assert named.code == 2
    assert "expected a request that was approved" in named.err


def test_copies_are_drawn_and_added_only_when_somebody_says_so(project, expunge):
    words = ("requests", "add", "--data", "npz:images.npz", "--rows", "3", "--against", "npz:images.npz")
    found = expunge(*words, "--sheet", "sheet.png")
    assert found.code == 0, found.err
    with Image.open(project.parent / "sheet.png") as sheet:
        assert sheet.width > 100
    assert "shows the nearest pictures" in found.out
    assert Ledger.open(project).state.find("R0001").rows == 1
    chosen = expunge(*words, "--include", "5")
    assert chosen.code == 0, chosen.err
    ledger = Ledger.open(project)
    assert [one.id for one in ledger.instances(ledger.state.find("R0002"))] == ["3", "5"]
    assert len(list((project / "index").iterdir())) == 1


def test_the_server_needs_no_torch():
    script = "import sys, expunge.cli.requests.serve\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
