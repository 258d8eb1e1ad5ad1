import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from expunge.base import folders
from expunge.base.disk import PARTIAL, replacing, sweep, write_bytes, write_text
from expunge.base.errors import OutputError
from expunge.base.folders import LOCK_FILE, abandoned_folder, locked_folder, output_folder, sweep_below

HOLD = """
import sys
from pathlib import Path
from expunge.base.folders import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_another_process_is_refused_until_the_first_has_ended(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="expected a folder that no other command writes to, got one in use"):
            locked_folder(tmp_path).__enter__()
        other.kill()
        other.wait()
    assert names_in(tmp_path) == [LOCK_FILE]
    with locked_folder(tmp_path) as was_killed:
        assert was_killed
    assert names_in(tmp_path) == []


def test_a_folder_is_taken_over_only_from_a_killed_command(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "SECONDS_TO_LIFT", 0.3)
    with abandoned_folder(tmp_path / "none") as abandoned:
        assert not abandoned
    assert not (tmp_path / "none").exists()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with abandoned_folder(tmp_path) as abandoned:
            assert not abandoned
        other.kill()
        other.wait()
    with abandoned_folder(tmp_path) as abandoned:
        assert abandoned
        with pytest.raises(OutputError, match="one in use"), ThreadPoolExecutor(1) as thread:
            thread.submit(locked_folder(tmp_path).__enter__).result()
    assert names_in(tmp_path) == []


def test_another_thread_is_refused_and_the_same_may_come_again(tmp_path):
    refused = []

    def try_it():
        try:
            with locked_folder(tmp_path):
                pass
        except OutputError as error:
            refused.append(error)

    with locked_folder(tmp_path):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        with locked_folder(tmp_path):
            pass
        assert names_in(tmp_path) == [LOCK_FILE]
    assert len(refused) == 1
    assert names_in(tmp_path) == []


def test_what_a_killed_command_left_is_swept_and_other_hidden_files_stay(tmp_path):
    (tmp_path / ".weights.12345678.partial").write_text("half")
    (tmp_path / ".new.12345678.partial").mkdir()
    (tmp_path / ".new.12345678.partial/picture.png").write_text("half")
    (tmp_path / ".gitignore").write_text("*")
    with locked_folder(tmp_path):
        assert names_in(tmp_path) == [LOCK_FILE, ".gitignore"]
    sweep(tmp_path)
    assert names_in(tmp_path) == [".gitignore"]


def test_an_occupied_folder_is_refused_unless_told_or_left_by_a_killed_command(tmp_path):
    (tmp_path / "half.txt").write_text("")
    with pytest.raises(OutputError, match="expected an empty output folder"):
        output_folder(tmp_path, overwrite=False, result="result.json").__enter__()
    assert names_in(tmp_path) == ["half.txt"]
    for overwrite, goes_on in ((True, ""), (False, "half.txt")):
        with output_folder(tmp_path, overwrite=overwrite, result="result.json", goes_on=goes_on):
            pass
    (tmp_path / LOCK_FILE).write_text("")
    with output_folder(tmp_path, overwrite=False, result="result.json"):
        pass
    (tmp_path / LOCK_FILE).write_text("")
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(OutputError, match="--overwrite"):
        output_folder(tmp_path, overwrite=False, result="result.json").__enter__()


def test_a_folder_is_made_with_its_parents_and_a_file_in_its_place_is_refused(tmp_path):
    with output_folder(tmp_path / "a" / "b", overwrite=False, result="result.json"):
        assert names_in(tmp_path / "a") == ["b"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected a folder that can be made and written to"):
        output_folder(tmp_path / "file", overwrite=True, result="result.json").__enter__()


def test_files_take_their_places_together_or_not_at_all(tmp_path):
    for name in ("a", "last", "gone"):
        (tmp_path / name).write_text("old")
    with pytest.raises(OutputError), replacing(tmp_path, last="last", gone=["gone"]) as stage:  # noqa: PT012
        write_text(stage / "a", "new")
        write_text(stage / "missing/b", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(("a", "last", "gone"), "old")
    with replacing(tmp_path, last="last", gone=["gone"]) as stage:
        write_text(stage / "last", "new")
        write_text(stage / "a", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "last": "new"}


def test_new_files_follow_the_umask_and_secret_ones_are_the_owners_alone(tmp_path):
    old = os.umask(0o027)
    try:
        write_bytes(tmp_path / "plain", b"")
        write_bytes(tmp_path / "secret", b"", mode=0o600)
    finally:
        os.umask(old)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("plain", "secret")] == [0o640, 0o600]


def test_what_killed_commands_left_in_folders_inside_is_removed(tmp_path):
    for name in ("killed", "in use"):
        (tmp_path / name).mkdir()
        (tmp_path / name / LOCK_FILE).touch()
        (tmp_path / name / f".half{PARTIAL}").touch()
    held = FileLock(tmp_path / "in use" / LOCK_FILE)
    with held:
        sweep_below(tmp_path)
    assert list((tmp_path / "killed").iterdir()) == []
    assert len(list((tmp_path / "in use").iterdir())) >= 1
