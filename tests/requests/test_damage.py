"""What others do to a project's files, and what we say to it."""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from expunge.base.errors import ExpungeWarning, LedgerError, OutputError
from expunge.compute.runtime import Runtime
from expunge.requests import database
from expunge.requests.apply import apply_waiting
from expunge.requests.create import create_project
from expunge.requests.place import locked
from expunge.requests.project import Ledger
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo
from expunge.requests.verify import verify_project


@pytest.fixture
def two(project, rows_of, options):
    """Return a project with two versions."""
    with writing(project) as ledger:
        for number in range(2):
            receive(ledger, rows_of(60, seed=0).rows([number]), options.keeping)
        apply_waiting(ledger, Runtime(), batch=1)
    return project


def change(project, *statements):
    """Change the database behind the ledger's back."""
    with sqlite3.connect(project / "ledger.sqlite") as connection:
        connection.execute("DROP TRIGGER IF EXISTS entries_stay")
        connection.execute("DROP TRIGGER IF EXISTS entries_remain")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_tampered_row_is_named(two):
    change(two, "UPDATE entries SET text = replace(text, 'letter 1', 'letter 9') WHERE number = 2")
    with pytest.raises(LedgerError, match="`entry 2`: expected what was written, got another content; the row was"):
        verify_project(Ledger.open(two))
    with pytest.raises(LedgerError, match="entry 2"):
        Ledger.open(two)
    with pytest.raises(LedgerError, match="entry 2"), writing(two):
        pass


def test_removed_rows_are_found(two):
    change(two, "DELETE FROM entries WHERE number = 3")
    with pytest.raises(LedgerError, match="got a gap; entries were removed or moved"):
        verify_project(Ledger.open(two))


def test_a_cut_off_end_is_found(two):
    change(two, "DELETE FROM entries WHERE number > 4")
    with pytest.raises(LedgerError, match="expected at least 9 entries, got 4; the last ones were removed"):
        verify_project(Ledger.open(two))


def test_entries_can_only_be_added(two):
    connection = sqlite3.connect(two / "ledger.sqlite")
    for statement in ("UPDATE entries SET kind = 'x'", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_a_swapped_patch_is_found_and_refused(two):
    first, second = sorted((two / "versions").glob("*-patch-*"))
    shutil.copy(first, second)
    assert verify_project(Ledger.open(two)).problems == (
        f"versions/{second.name}: not the file that the ledger names; it was swapped or changed",
    )
    with writing(two) as ledger, pytest.raises(LedgerError, match="expected the patch of version 2, got another file"):
        undo(ledger)
    assert Ledger.open(two).state.newest == 2


def test_a_missing_patch_is_found_and_refused(two):
    _, second = sorted((two / "versions").glob("*-patch-*"))
    second.unlink()
    assert verify_project(Ledger.open(two)).problems == (f"versions/{second.name}: missing",)
    with writing(two) as ledger, pytest.raises(LedgerError, match="got no file; restore it from a backup"):
        undo(ledger)
    assert verify_project(Ledger.open(two)).entries == len(ledger.entries)


def test_changed_weights_are_found(two):
    (two / "current.safetensors").write_bytes((two / "current.safetensors").read_bytes()[:-4] + b"\0\0\0\0")
    (problem,) = verify_project(Ledger.open(two)).problems
    assert problem.startswith("current.safetensors: not the weights that the ledger names")
    with (
        pytest.raises(LedgerError, match="got others; the file was changed; remove it, and it is made anew"),
        writing(two),
    ):
        pass
    (two / "current.safetensors").unlink()
    with writing(two) as ledger:
        assert verify_project(ledger).problems == ()


def test_a_ledger_of_a_newer_schema_is_refused(two):
    change(two, "UPDATE meta SET value = '3'")
    with pytest.raises(LedgerError, match="expected a ledger of schema 2 or older, got schema 3; use a newer expunge"):
        Ledger.open(two)


def test_a_locked_database_is_named(two, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    ledger = Ledger.open(two)
    connection = sqlite3.connect(two / "ledger.sqlite", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match="expected a database that no other program holds, got a locked one"):
        ledger.append([("failed", {"request": "R0001", "reason": "none"})])
    connection.rollback()
    connection.close()
    assert len(Ledger.open(two).entries) == len(ledger.entries)


def test_two_writers_are_kept_apart(two):
    held = locked(two, wait_seconds=0)
    with held, pytest.raises(LedgerError, match="expected no other expunge at work, got a lock held by one"):
        subprocess_writes(two)
    with writing(two, wait_seconds=0):
        pass


def subprocess_writes(project):
    """Open for writing in another process and raise what it says."""
    script = "import sys; from expunge.requests.place import locked\nwith locked(sys.argv[1], wait_seconds=0.1): pass"
    done = subprocess.run([sys.executable, "-c", script, project], capture_output=True, text=True, check=False)
    if done.returncode:
        name, _, text = done.stderr.strip().splitlines()[-1].partition(": ")
        assert name == "expunge.base.errors.LedgerError"
        raise LedgerError("project", text.partition("expected ")[2], "")


def test_another_writer_at_the_same_time_is_noticed(two):
    first, second = Ledger.open(two), Ledger.open(two)
    first.append([("failed", {"request": "R0001", "reason": "none"})])
    with pytest.raises(LedgerError, match="got an entry written meanwhile; nothing was changed"):
        second.append([("failed", {"request": "R0002", "reason": "none"})])


@pytest.mark.skipif(sys.platform == "win32", reason="folders have other rights there")
def test_a_read_only_folder_is_named(two):
    with tempfile.TemporaryDirectory() as outer:
        place = Path(shutil.copytree(two, Path(outer) / "project"))
        for path in two.parent.glob("project.key*"):
            shutil.copy(path, outer)
            (Path(outer) / path.name).chmod(0o644)
        Path(outer).chmod(0o755)
        for path in (place, *place.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
        script = (
            "import os, sys; from expunge.requests.recovery import Ledger, writing\n"
            "from expunge.requests.verify import verify_project\n"
            "verify_project(Ledger.open(sys.argv[1]))\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"
            "assert verify_project(Ledger.open(sys.argv[1])).problems == ()\n"
            "with writing(sys.argv[1]): pass"
        )
        done = subprocess.run([sys.executable, "-c", script, place], capture_output=True, text=True, check=False)
        for path in (place, *place.rglob("*")):
            path.chmod(0o755)
    assert "expunge.base.errors.LedgerError" in done.stderr
    assert "a folder that can be written to, got" in done.stderr


def test_a_full_disk_loses_nothing(two, rows_of, options, monkeypatch):
    def refuse(path, content):
        raise OutputError(str(path), "a place that can be written to", "No space left on device")

    before = len(Ledger.open(two).entries)
    with writing(two) as ledger:
        receive(ledger, rows_of(60, seed=0).rows([5]), options.keeping)
        with monkeypatch.context() as patched:
            patched.setattr("expunge.requests.sealed.write_bytes", refuse)
            with pytest.raises(OutputError, match="No space left"):
                apply_waiting(ledger, Runtime())
        with monkeypatch.context() as patched:
            patched.setattr("expunge.base.tensors.write_bytes", refuse)
            finished = "No space left on device; version 3 stands in the ledger, and the next command writes its weight"
            with pytest.raises(OutputError, match=finished):
                apply_waiting(ledger, Runtime())
    with writing(two) as ledger:
        assert len(ledger.entries) == before + 3
        assert verify_project(ledger).problems == ()
        apply_waiting(ledger, Runtime())
        assert [request.state.value for request in ledger.state.requests.values()] == ["verified"] * 3


def test_a_lost_or_other_key_is_named(two):
    key = two.with_name("project.key")
    key.write_text("00" * 32)
    with pytest.raises(LedgerError, match="the key is another one"):
        Ledger.open(two)
    key.write_text("00")
    with pytest.raises(LedgerError, match="a key of 32 bytes, got 1 bytes"):
        Ledger.open(two)
    key.unlink()
    with pytest.raises(LedgerError, match="the project's key, got no file"):
        Ledger.open(two)


def test_folders_that_are_no_project_are_named(plan, project, tmp_path):
    with pytest.raises(LedgerError, match=r"expected a project of deletion requests, got no project\.toml"):
        Ledger.open(tmp_path)
    with pytest.raises(OutputError, match="an empty output folder"):
        create_project(project, plan)
    (project / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="expected a sound database"):
        Ledger.open(project)
    (project / "project.toml").write_text('key = "../project.key"\ndatabase = "nowhere://me:secret@host"')
    with (
        pytest.warns(ExpungeWarning, match="take it out, and set EXPUNGE_DATABASE_PASSWORD"),
        pytest.raises(LedgerError, match="a SQLAlchemy URL with its driver installed") as raised,
    ):
        Ledger.open(project)
    assert "secret" not in str(raised.value)
