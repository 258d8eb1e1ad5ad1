"""NegGrad+ against the authors' own loop: two epochs of four batches, the rows' three batches going round in each."""

from golden_draws import as_in, replay_batches
from golden_net import assert_same_change, make_classifier, make_forget_set, make_retain, read_golden

from expunge.methods.published import neggrad_plus
from expunge.methods.published.neggrad_plus import NegGradPlus
from expunge.methods.unlearn import unlearn
from expunge.training import trainer


def test_the_epochs_are_the_authors(monkeypatch):
    golden = read_golden("neggrad-plus")
    settings, draws = golden["settings"], golden["draws"]
    monkeypatch.setattr(trainer, "draw_batches", replay_batches(draws["retain_batches"]))
    monkeypatch.setattr(neggrad_plus, "draw_batches", replay_batches(draws["forget_batches"]))
    method = NegGradPlus(
        retain_share=settings["retain_share"],
        forget_batch=settings["forget_batch"],
        training=as_in(golden, NegGradPlus().training),
    )
    edit = unlearn(make_classifier(), make_forget_set(), method=method, retain=make_retain())
    assert settings["learning_rate"] == NegGradPlus().training.learning_rate
    assert_same_change(edit.classifier, golden)
