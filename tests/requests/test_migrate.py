"""A project that version 0.x before the key's notes made still opens, and is brought up to date by the first write."""

import json
import tarfile
from pathlib import Path

import pytest

from expunge.base.errors import ExpungeWarning, LedgerError
from expunge.compute.runtime import Runtime
from expunge.requests.apply import apply_waiting
from expunge.requests.project import Ledger
from expunge.requests.purge import purge_fingerprints
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo
from expunge.requests.state import State
from expunge.requests.verify import verify_project

SAMPLE = Path(__file__).parents[1] / "samples" / "old_project.tar.xz"


@pytest.fixture
def old(tmp_path, plan):
    """Return a project of old with two versions and a waiting request; `plan` lets its network be imported."""
    with tarfile.open(SAMPLE) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path / "project"


def migrate(project):
    """Write to a project."""
    with writing(project):
        pass


def test_a_project_of_old_can_be_read_as_it_is(old):
    ledger = Ledger.open(old)
    assert verify_project(ledger).problems == ()
    assert [request.state for request in ledger.state.requests.values()] == [State.VERIFIED] * 2 + [State.VALIDATED]
    assert [kind for _, kind, _ in ledger.history(ledger.state.find("R0002"))][-1] == "purged"
    assert len(ledger.instances(ledger.state.find("R0001"))) == 2
    assert not list(old.glob("*.head"))


def test_the_first_write_seals_it_with_a_note_and_all_goes_on(old):
    with pytest.warns(ExpungeWarning, match="made by an older version: its first weights and patches are sealed now"):
        migrate(old)
    with writing(old) as ledger:
        versions = [ledger.state.sha256_of(number) for number in range(3)]
        assert apply_waiting(ledger, Runtime()).verified == ("R0003",)
    with writing(old) as ledger:
        for number in (2, 1, 0):
            undo(ledger)
            assert ledger.state.weights_sha256 == versions[number]
        assert purge_fingerprints(ledger, list(ledger.state.requests.values())) == 3
    assert verify_project(Ledger.open(old)).problems == ()
    assert not list(old.rglob("*.patch.safetensors"))
    assert not (old / "first.safetensors").exists()
    assert len(list(old.glob("key.*.head"))) == 1


def test_its_old_head_passes_no_longer_then(old):
    before = (old / "head.json").read_text()
    with pytest.warns(ExpungeWarning, match="older version"):
        migrate(old)
    last = Ledger.open(old).last
    for text in (before, json.dumps({"number": last.number, "hash": last.hash})):
        (old / "head.json").write_text(text)
        with pytest.raises(LedgerError, match="expected a note with the key's code, got one without"):
            Ledger.open(old)
    (old / "head.json").write_text('{"number": 0, "hash": ""}')
    with pytest.raises(LedgerError, match="the file was changed"):
        Ledger.open(old)
    (old / "head.json").write_text(before)
    next(old.glob("key.*.head")).unlink()
    with pytest.raises(LedgerError, match="expected a note with the key's code, got one without"):
        Ledger.open(old)


def test_a_changed_patch_of_old_is_not_sealed(old):
    patch = sorted((old / "versions").iterdir())[0]
    patch.write_bytes(patch.read_bytes()[:-1] + bytes([patch.read_bytes()[-1] ^ 1]))
    entries = len(Ledger.open(old).entries)
    with pytest.raises(LedgerError, match="the patch of version 1, got another file"), writing(old):
        pass
    assert len(Ledger.open(old).entries) == entries
