import pytest
from safetensors.torch import load_file


@pytest.fixture
def edited(job, expunge):
    """Return the folder of an edit."""
    found = expunge(*job.flags, "--forget-indices", "0,1", "--out", "edited", "--max-steps", "1")
    assert found.code in (0, 3)
    return job.folder / "edited"


def test_an_edit_is_exported_in_every_format(edited, expunge):
    pytest.importorskip("onnxruntime")
    found = expunge("export", "edited", "--allow-code")
    assert found.code == 0
    names = {"README.md", "classifier.json", "model.onnx", "model.pt2", "model.safetensors"}
    assert {path.name for path in (edited / "export").iterdir()} == names
    assert found.out.count("logits equal within") == 2
    saved, first = load_file(edited / "export" / "model.safetensors"), load_file(edited / "model.safetensors")
    assert all((saved[name] == first[name]).all() for name in first)


def test_an_export_does_not_replace_files_unasked(edited, expunge):
    (edited / "export").mkdir()
    (edited / "export" / "notes.txt").write_text("mine")
    found = expunge("export", "edited", "--allow-code", "--format", "hub")
    assert found.code == 2
    assert "expected an empty output folder" in found.err
    assert [path.name for path in (edited / "export").iterdir()] == ["notes.txt"]


def test_a_pull_request_needs_a_repository(edited, expunge):
    found = expunge("export", "edited", "--allow-code", "--pull-request")
    assert found.code == 2
    assert "`--pull-request`: expected --push REPO beside it, got none" in found.err


def test_a_folder_without_an_edit_is_refused(tmp_path, expunge):
    found = expunge("export", tmp_path, "--format", "safetensors")
    assert found.code == 2
    assert "expected the result of an edit" in found.err


def test_an_export_is_pushed(edited, expunge, monkeypatch):
    from expunge.task.saved import SavedEdit  # noqa: PLC0415

    pushed = []
    monkeypatch.setattr(
        SavedEdit, "push_to_hub", lambda self, repo, **flags: pushed.append((repo, flags)) or "https://hub/abc"
    )
    found = expunge("export", "edited", "--allow-code", "--format", "hub", "--out", "public", "--push", "me/it")
    assert pushed == [("me/it", {"private": True, "create_pr": False})]
    assert "https://hub/abc" in found.out
    assert {path.name for path in (edited.parent / "public").iterdir()} == {
        "README.md",
        "classifier.json",
        "model.safetensors",
    }
