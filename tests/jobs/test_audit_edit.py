"""An edit that is at hand is audited in Python."""

import pytest
import torch

import expunge
from expunge.audit.audit_json import read_audit
from expunge.audit.record import Level
from expunge.base.errors import DataError, OutputError, SettingsError
from expunge.task.task import Limits


@pytest.fixture(scope="module")
def training(rows, other_images):
    """Return the rows to forget, and others, as images and labels."""
    x, y = other_images
    return torch.cat([rows.x, x]), torch.cat([rows.y, y])


@pytest.fixture(scope="module")
def edit(trained, training):
    return expunge.unlearn(trained, training, indices=[0, 1, 5, 7], method="relabel-only", limits=Limits(steps=40))


def test_an_audit_has_figures_sentences_and_a_page(edit, training, other_images, tmp_path):
    audit = expunge.audit_edit(edit, tmp_path / "audit", retain=training, test=other_images, level="quick")
    assert audit.verdict
    assert audit.figures["goal.exact"].value == 100 * edit.goal_achieved
    assert audit.figures["cost.seconds"].value == pytest.approx(edit.cost.seconds, rel=1e-4)
    assert audit.subject.sizes == {"forget": 4, "retain": len(training[1]) - 4, "test": len(other_images[1])}
    assert audit.subject.method == "relabel-only"
    assert "<html" in (tmp_path / "audit" / "report.html").read_text("utf-8")
    assert read_audit(tmp_path / "audit").figures == audit.figures


def test_the_folder_of_a_saved_edit_takes_the_audit_and_its_report(edit, tmp_path):
    edit.save(tmp_path / "edited")
    with torch.no_grad():
        expunge.audit_edit(edit, tmp_path / "edited" / "audit", level=Level.QUICK, images=False)
    again = expunge.audit_edit(edit, tmp_path / "edited" / "audit", level=Level.QUICK, images=False)
    assert again.figures["accuracy.test_after"].value is None
    assert not (tmp_path / "edited" / "audit" / "images").exists()


def test_a_full_audit_looks_at_features(edit, training, other_images, tmp_path):
    audit = expunge.audit_edit(edit, tmp_path, retain=training, test=other_images)
    assert audit.level == "full"
    assert audit.figures["cka.forget"].value is not None


def test_what_cannot_be_audited_is_named(edit, other_images, tmp_path):
    x, y = other_images
    with pytest.raises(SettingsError, match="`level`: expected quick or full, got 'none'"):
        expunge.audit_edit(edit, tmp_path, level="none")
    with pytest.raises(DataError, match="`test`: expected images of the forget set's size, got none"):
        expunge.audit_edit(edit, tmp_path, test=(x[..., :-1], y), level="quick")
    with pytest.raises(DataError, match=r"`test`: expected labels in 0\.\.4, got 0\.\.9"):
        expunge.audit_edit(edit, tmp_path, test=(x, y.clone().index_fill(0, torch.tensor([0]), 9)), level="quick")
    (tmp_path / "mine.txt").write_text("notes")
    with pytest.raises(OutputError, match="an empty output folder"):
        expunge.audit_edit(edit, tmp_path, level="quick")
