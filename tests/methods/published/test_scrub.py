import pytest
import torch
import torch.nn.functional as F

from expunge.methods.published import scrub
from expunge.methods.published.scrub import Scrub, distillation_loss
from expunge.methods.unlearn import unlearn
from expunge.training import Augmentation, Training


def test_the_teacher_does_not_move_and_the_student_does(trained, rows, retain, monkeypatch):
    """What the teacher answers on the same images is the same in every epoch; what the student answers is not."""
    seen = {"student": [], "teacher": []}

    def spy(student, teacher, temperature):
        if len(student) == len(rows):
            seen["student"].append(student.detach().clone())
            seen["teacher"].append(teacher.clone())
            assert not teacher.requires_grad
        return distillation_loss(student, teacher, temperature)

    monkeypatch.setattr(scrub, "distillation_loss", spy)
    training = Training(epochs=3, learning_rate=0.05, batch_size=20, augmentation=Augmentation.NONE)
    edit = unlearn(trained, rows, method=Scrub(raising_epochs=3, training=training), retain=retain)
    assert len(seen["teacher"]) == 3
    expected = trained(rows.x).detach().sort(dim=0).values
    for teacher in seen["teacher"]:
        torch.testing.assert_close(teacher.sort(dim=0).values, expected)
    assert not torch.allclose(seen["student"][0].sort(dim=0).values, seen["student"][2].sort(dim=0).values)
    assert edit.classifier.sha256() != trained.sha256()


def test_the_divergence_is_raised_in_the_first_epochs_only_and_lowered_in_all(trained, rows, retain, plain_training):
    method = Scrub(raising_epochs=2, training=plain_training(epochs=3))
    trace = unlearn(trained, rows, method=method, retain=retain).trace
    assert [sorted(point.losses) for point in trace] == [
        ["distillation", "forget", "retain"],
        ["distillation", "forget", "retain"],
        ["distillation", "retain"],
    ]
    assert trace[0].losses["forget"] == pytest.approx(0, abs=1e-6), "the student starts as its teacher"


def test_the_divergence_from_the_teacher_grows_on_the_rows(trained, rows, retain, plain_training):
    training = plain_training(epochs=6, learning_rate=0.05)
    method = Scrub(raising_epochs=6, distillation_weight=1.0, training=training)
    edited = unlearn(trained, rows, method=method, retain=retain).classifier
    apart, close = (distillation_loss(edited(x), trained(x), 4.0).item() for x in (rows.x, retain.pixels))
    assert apart > 0
    assert F.cross_entropy(edited(retain.pixels), retain.labels) < F.cross_entropy(edited(rows.x), rows.y)
    assert close >= 0


def test_distillation_loss_is_the_divergence_from_teacher_to_student():
    student, teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).unbind()
    p, q = (teacher / 2).softmax(dim=1), (student / 2).softmax(dim=1)
    expected = 4 * (p * (p / q).log()).sum(dim=1).mean()
    torch.testing.assert_close(distillation_loss(student, teacher, 2.0), expected)
