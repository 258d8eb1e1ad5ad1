import torch

from expunge.methods.published import bad_teacher
from expunge.methods.published.bad_teacher import BadTeacher
from expunge.methods.published.scrub import distillation_loss
from expunge.methods.unlearn import unlearn
from expunge.models.reinitialise import reinitialise


def test_rows_are_taught_by_the_untrained_network_and_the_rest_by_the_old_one(
    trained, rows, retain, plain_training, monkeypatch
):
    seen = []
    monkeypatch.setattr(bad_teacher, "distillation_loss", lambda s, t, k: seen.append(t) or distillation_loss(s, t, k))
    method = BadTeacher(retain_share=1.0, training=plain_training(epochs=2, learning_rate=0.5))
    edit = unlearn(trained, rows, method=method, retain=retain)
    ignorant = trained.frozen_copy()
    reinitialise(ignorant, edit.task.generator("bad teacher"))
    expected = torch.cat([ignorant(rows.x), trained(retain.pixels).detach()])
    for wanted in seen:
        torch.testing.assert_close(_sorted(wanted), _sorted(expected))
    assert len(seen) == 2
    assert not torch.allclose(ignorant(rows.x), trained(rows.x))


def test_only_a_part_of_the_retain_data_is_used(trained, rows, retain, plain_training):
    edit = unlearn(trained, rows, method=BadTeacher(retain_share=0.3, training=plain_training()), retain=retain)
    assert edit.cost.gradient_evaluations == 6 + 6


def _sorted(logits):
    return logits[logits[:, 0].argsort()]
