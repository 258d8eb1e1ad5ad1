"""What somebody without the key can put back, and what is put aside and not deleted."""

import json
import shutil
import sqlite3
import stat
import warnings
from contextlib import closing
from dataclasses import replace

import pytest

from expunge.base.errors import ExpungeWarning, LedgerError, OutputError, SettingsError
from expunge.compute.runtime import Runtime
from expunge.requests import snapshot
from expunge.requests.create import create_project
from expunge.requests.database import Database, has_password
from expunge.requests.project import Ledger
from expunge.requests.purge import purge_images, purge_quarantine
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import withdraw
from expunge.requests.state import State
from expunge.requests.verify import verify_folder, verify_project


@pytest.fixture
def waiting(project, rows_of, options):
    """Return a project with two requests that wait, and a copy of its folder from before the second."""
    with writing(project) as ledger:
        receive(ledger, rows_of(2, seed=0), options.keeping)
    shutil.copytree(project, project.with_name("older"))
    with writing(project) as ledger:
        receive(ledger, rows_of(60, seed=0).rows([4]), options.plain)
    return project


def execute(project, statement):
    with closing(sqlite3.connect(project / "ledger.sqlite")) as connection:
        rules = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in rules:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
        for _, sql in rules:
            connection.execute(sql)
        connection.commit()


def put_back(project):
    shutil.rmtree(project)
    shutil.copytree(project.with_name("older"), project)


def test_dropped_entries_with_a_forged_head_are_found(waiting):
    last = Ledger.open(waiting).entries[2]
    execute(waiting, "DELETE FROM entries WHERE number > 3")
    for head in ({"number": last.number, "hash": last.hash}, {"number": 0}, {"number": 0, "hash": ""}):
        (waiting / "head.json").write_text(json.dumps(head))
        with pytest.raises(LedgerError, match=r"without|'hash'|changed"):
            Ledger.open(waiting)


def test_an_older_copy_of_the_whole_folder_is_found_and_nothing_is_deleted(waiting):
    put_back(waiting)
    words = r"expected at least 5 entries, got 3; .* or an older copy of the project"
    with pytest.raises(LedgerError, match=words):
        Ledger.open(waiting)
    with pytest.raises(LedgerError, match=words), writing(waiting):
        pass
    assert len(list((waiting / "images").iterdir())) == 1


def test_a_backup_that_is_meant_is_taken_once_the_note_beside_the_key_is_removed(waiting):
    put_back(waiting)
    (note,) = waiting.parent.glob("project.key.*.head")
    note.unlink()
    with writing(waiting) as ledger:
        assert ledger.last.number == 3
    assert note.exists()


def test_what_no_entry_names_is_put_aside_until_it_is_purged(waiting):
    (waiting / "images" / "R0009-0123456789ab.sealed").write_bytes(b"unnamed")
    (waiting / "versions" / ".0001.0a1b2c3d").write_bytes(b"half")
    with writing(waiting):
        pass
    assert [path.name for path in (waiting / "quarantine").iterdir()] == ["R0009-0123456789ab.sealed"]
    assert not (waiting / "versions" / ".0001.0a1b2c3d").exists()
    found = verify_project(Ledger.open(waiting))
    assert (found.problems, found.aside) == ((), 1)
    with writing(waiting) as ledger:
        assert purge_quarantine(ledger) == ["quarantine/R0009-0123456789ab.sealed"]


def test_images_can_be_deleted_on_a_full_disk(waiting, monkeypatch):
    genuine, reserve = Database.append, waiting / "reserve"

    def append(self, *arguments):
        if reserve.exists():
            raise OutputError("ledger", "space on the disk", "database or disk is full")
        genuine(self, *arguments)

    with writing(waiting) as ledger:
        withdraw(ledger, "R0002", "", Runtime())
        monkeypatch.setattr(Database, "append", append)
        ledger.state.requests["R0001"].state = State.WITHDRAWN
        assert [file.path[:12] for file in purge_images(ledger, [ledger.state.find("R0001")])] == ["images/R0001"]
        assert list((waiting / "images").iterdir()) == []
    assert reserve.stat().st_size > 100_000
    assert verify_folder(waiting).problems == ()


def test_a_disk_too_full_to_open_the_ledger_is_opened_to_delete_from_it(waiting, monkeypatch):
    genuine, reserve = Database.schema, waiting / "reserve"

    def schema(self):
        if reserve.exists():
            raise OutputError("ledger", "space on the disk", "disk I/O error")
        return genuine(self)

    monkeypatch.setattr(Database, "schema", schema)
    with pytest.raises(OutputError, match="space on the disk"), writing(waiting):
        pass
    assert reserve.exists()
    with writing(waiting, making_room=True) as ledger:
        ledger.state.requests["R0001"].state = State.WITHDRAWN
        assert [file.path[:12] for file in purge_images(ledger, [ledger.state.find("R0001")])] == ["images/R0001"]
    assert reserve.stat().st_size > 100_000
    monkeypatch.undo()
    assert verify_folder(waiting).problems == ()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM fingerprints WHERE request = 'R0001' AND row = 1",
        "UPDATE fingerprints SET sealed = zeroblob(44) WHERE request = 'R0001'",
        "UPDATE fingerprints SET request = 'R0003' WHERE request = 'R0002'",
        "UPDATE fingerprints SET row = 5 WHERE request = 'R0002'",
        "INSERT INTO fingerprints SELECT request, 7, sealed FROM fingerprints WHERE request = 'R0002'",
    ],
)
def test_a_changed_table_of_fingerprints_is_found_and_not_used(waiting, rows_of, statement):
    from expunge.requests.duplicates import find_duplicates  # noqa: PLC0415

    execute(waiting, statement)
    found = verify_project(Ledger.open(waiting)).problems
    assert found
    assert all("fingerprints of R000" in problem for problem in found)
    with writing(waiting) as ledger, pytest.raises(LedgerError, match="perceptual hashes as they were written"):
        find_duplicates(ledger, rows_of(2, seed=0))


def test_a_changed_reference_is_not_shown(waiting):
    execute(waiting, "UPDATE entries SET text = replace(text, 'letter 1', 'letter 9')")
    with pytest.raises(LedgerError, match="entry 2`: expected what was written"):
        Ledger.open(waiting)


def test_a_snapshot_shows_the_same_and_a_changed_one_is_not_used(waiting, monkeypatch):
    plain = Ledger.open(waiting)
    monkeypatch.setattr(snapshot, "FEWEST", 1)
    with writing(waiting):
        pass
    covered = Ledger.open(waiting)
    assert (plain.covered, covered.covered) == (0, 5)
    assert covered.state == plain.state
    path = waiting / snapshot.SNAPSHOT_FILE
    path.write_bytes(path.read_bytes().replace(b"letter 1", b"letter 9"))
    assert Ledger.open(waiting).state == plain.state
    assert [text[:14] for text in verify_project(Ledger.open(waiting)).problems] == ["state.snapshot"]
    execute(waiting, "DELETE FROM entries WHERE number = 2")
    with pytest.raises(LedgerError, match="got a gap"):
        Ledger.open(waiting)


def test_entries_below_a_snapshot_are_checked_by_verify_and_where_they_are_shown(waiting, monkeypatch):
    monkeypatch.setattr(snapshot, "FEWEST", 1)
    with writing(waiting):
        pass
    execute(waiting, "UPDATE entries SET text = replace(text, 'row-0', 'row-9') WHERE number = 2")
    ledger = Ledger.open(waiting)
    with pytest.raises(LedgerError, match="entry 2"):
        ledger.instances(ledger.state.find("R0001"))
    with pytest.raises(LedgerError, match="entry 2"):
        verify_project(ledger)


def test_an_interrupted_command_and_one_at_work_have_words_of_their_own(waiting):
    with writing(waiting) as ledger:
        ledger.append([("failed", {"request": "R0001", "reason": "none"})])
        weights = waiting / "current.safetensors"
        kept = weights.read_bytes()
        weights.unlink()
        with pytest.raises(LedgerError, match="expected no other expunge at work, got one that is writing"):
            verify_folder(waiting)
        found = verify_project(Ledger.open(waiting))
        assert found.problems == ()
        assert found.unfinished[0].endswith("a command was interrupted, and the next one that writes goes on")
        weights.write_bytes(kept)
    assert verify_folder(waiting).problems == ()
    weights.unlink()
    assert verify_folder(waiting).problems == ("current.safetensors: missing",)


def test_key_notes_and_files_have_their_rights_from_the_first_byte(plan, tmp_path, monkeypatch):
    import os  # noqa: PLC0415

    opened, genuine = {}, os.open

    def watching(path, flags, mode=0o777, **named):
        descriptor = genuine(path, flags, mode, **named)
        opened[str(path)] = stat.S_IMODE(os.fstat(descriptor).st_mode)
        return descriptor

    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", watching)
            create_project(tmp_path / "project", plan)
    finally:
        os.umask(before)
    assert {mode for path, mode in opened.items() if ".project.key." in path} == {0o600}
    for name, mode in {"project.key": 0o600, "project/current.safetensors": 0o640, "project/head.json": 0o640}.items():
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode, name
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("project.key*")} == {0o600}


def test_no_password_of_a_database_gets_into_a_file_or_a_message(plan, tmp_path, monkeypatch):
    for url in ("postgresql+psycopg://me:secret@nowhere/x", "postgresql+psycopg://me@nowhere/x?password=secret"):
        assert has_password(url)
        with pytest.raises(SettingsError, match="EXPUNGE_DATABASE_PASSWORD") as raised:
            replace(plan, database=url)
        assert "secret" not in str(raised.value)
    monkeypatch.setenv("EXPUNGE_DATABASE_PASSWORD", "secret")
    with pytest.raises((LedgerError, OutputError)) as failed:
        create_project(tmp_path / "project", replace(plan, database="postgresql+psycopg://me@127.0.0.1:1/x"))
    assert "secret" not in str(failed.value)
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExpungeWarning)
        create_project(tmp_path / "project2", plan)


def test_an_interrupted_init_is_taken_up_and_other_files_are_left_alone(plan, tmp_path):
    create_project(tmp_path / "project", plan)
    (tmp_path / "project" / "project.toml").unlink()
    secret = (tmp_path / "project.key").read_bytes()
    (tmp_path / "project" / ".current.safetensors.0a1b2c3d").write_bytes(b"half")
    create_project(tmp_path / "project", plan)
    assert (tmp_path / "project.key").read_bytes() == secret
    assert not list((tmp_path / "project").glob(".current*"))
    (tmp_path / "project" / "project.toml").unlink()
    (tmp_path / "project" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="an empty output folder"):
        create_project(tmp_path / "project", plan)
