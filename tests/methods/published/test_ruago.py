import pytest
import torch

from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.methods.published.epochs import Trainer, Training
from expunge.methods.published.ruago import Ruago
from expunge.methods.published.scrub import distillation_loss
from expunge.methods.unlearn import unlearn
from expunge.models.modes import BatchNormMode
from expunge.surrogates.inverted import Inversion, invert_classifier
from expunge.task.evaluation import compute_logits
from expunge.training import Augmentation

INVERSION = Inversion(steps=3)


def method(**settings):
    training = Training(
        epochs=4, learning_rate=0.01, weight_decay=0.0, batchnorm=BatchNormMode.FROZEN, augmentation=Augmentation.NONE
    )
    return Ruago(images=40, inversion=INVERSION, training=training, **settings)


def test_adversarial_answers_are_wrong_and_soft(trained, rows):
    meter = CostMeter(Runtime())
    reference = trained.frozen_copy()
    hard, soft = (method(softness=softness).soften(reference, rows.x, meter) for softness in (0.1, 5.0))
    for answers in (hard, soft):
        torch.testing.assert_close(answers.sum(dim=1), torch.ones(len(rows)))
        assert bool((answers.argmax(dim=1) != rows.y).all())
    assert bool((soft.amax(dim=1) < hard.amax(dim=1)).all())


def test_synthetic_images_go_from_easy_to_hard(trained, rows, monkeypatch):
    seen = []
    run_pass = Trainer.run_pass

    def watched(self, images, losses, **options):
        logits = compute_logits(trained, images.load(range(len(images.labels))))
        seen.append((len(images.labels), float(logits.softmax(dim=1).amax(dim=1).min())))
        return run_pass(self, images, losses, **options)

    monkeypatch.setattr(Trainer, "run_pass", watched)
    unlearn(trained, rows, method=method())
    assert [count for count, _ in seen] == [10, 20, 30, 40]
    surest = [least for _, least in seen]
    assert surest == sorted(surest, reverse=True)
    assert surest[0] > surest[-1]


def test_distillation_keeps_the_old_answers(trained, rows):
    images = invert_classifier(trained.frozen_copy(), 40, (3, 8, 6), INVERSION, CostMeter(Runtime()))
    before = compute_logits(trained, images)
    edits = [unlearn(trained, rows, method=method(distillation_weight=weight)) for weight in (10.0, 0.0)]
    kept, lost = (distillation_loss(compute_logits(edit.classifier, images), before, 1.0) for edit in edits)
    assert kept < 0.5 * lost


def test_rows_move_toward_the_adversarial_answers(trained, rows):
    settings = method(distillation_weight=0.0)
    wanted = settings.soften(trained.frozen_copy(), rows.x, CostMeter(Runtime()))
    edit = unlearn(trained, rows, method=settings)
    distances = [
        float((compute_logits(each, rows.x).softmax(dim=1) - wanted).norm()) for each in (trained, edit.classifier)
    ]
    assert distances[1] < distances[0]
    assert edit.trace[-1].losses["rows"] < edit.trace[0].losses["rows"]
    assert edit.trace[0].losses["distillation"] == pytest.approx(0.0)
