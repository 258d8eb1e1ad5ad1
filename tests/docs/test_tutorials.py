"""The tutorials run from top to bottom, and are stored without what they printed."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

TUTORIALS = sorted((Path(__file__).resolve().parents[2] / "docs" / "tutorials").glob("*.ipynb"))
every_tutorial = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


def test_all_four_are_there():
    names = {"comparing_methods", "deletion_request", "own_timm_model", "wrong_labels"}
    assert {path.stem for path in TUTORIALS} == names


@every_tutorial
def test_nothing_that_was_printed_is_stored(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
@every_tutorial
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_runs(path, tmp_path, monkeypatch):
    if path.stem == "own_timm_model":
        pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(path, as_version=4)
    # on a busy machine what a cell prints arrives seconds after its end; later than iopub_timeout it is dropped
    nbclient.NotebookClient(notebook, timeout=300, iopub_timeout=120, kernel_name="python3").execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
