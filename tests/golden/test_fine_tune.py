"""Fine-tune and l1-sparse against the authors' own loops: two epochs of two batches, in the same order."""

import pytest
from golden_draws import as_in, replay_batches
from golden_net import assert_same_change, make_classifier, make_forget_set, make_retain, read_golden

from expunge.methods.published.fine_tune import FineTune
from expunge.methods.published.l1_sparse import L1Sparse
from expunge.methods.unlearn import unlearn
from expunge.training import trainer


@pytest.mark.parametrize("kind", [FineTune, L1Sparse])
def test_the_epochs_are_the_authors(monkeypatch, kind):
    golden = read_golden(kind.name)
    monkeypatch.setattr(trainer, "draw_batches", replay_batches(golden["draws"]["retain_batches"]))
    own = {"penalty": golden["settings"]["penalty"]} if kind is L1Sparse else {}
    method = kind(training=as_in(golden, kind().training), **own)
    edit = unlearn(make_classifier(), make_forget_set(), method=method, retain=make_retain())
    assert golden["settings"]["learning_rate"] == kind().training.learning_rate
    assert_same_change(edit.classifier, golden)
