import pytest
import torch
import torch.nn.functional as F

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.published import ruago
from expunge.methods.published.ruago import GradientInput, Ruago, SignedAttack, distil, weigh_easy
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode
from expunge.models.pixels import Bounds
from expunge.surrogates.inverted import Inversion, invert_classifier
from expunge.task.evaluation import compute_logits
from expunge.training import Augmentation, Training

INVERSION = Inversion(steps=3)
NORMALISED = SignedAttack(gradients=GradientInput.NORMALISED)


def method(**settings):
    training = Training(
        epochs=4, learning_rate=0.01, weight_decay=0.0, batchnorm=BatchNormMode.FROZEN, augmentation=Augmentation.NONE
    )
    return Ruago(**{"images": 40, "inversion": INVERSION, "training": training, "attack": NORMALISED, **settings})


@pytest.mark.parametrize("gradients", GradientInput)
@pytest.mark.parametrize(("radius", "reach"), [(0.05, 0.05), (1.0, 0.06)])
def test_the_attack_stays_within_its_radius_its_steps_and_the_bounds(trained, rows, gradients, radius, reach):
    attack = SignedAttack(steps=3, step_size=0.02, radius=radius, gradients=gradients)
    moved = attack.perturb(trained.frozen_copy(), rows.x, rows.y)
    assert float((moved - rows.x).abs().max()) == pytest.approx(reach, abs=1e-6)
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


def test_the_attack_raises_the_cross_entropy_of_each_row(trained, rows):
    moved = NORMALISED.perturb(trained.frozen_copy(), rows.x, rows.y)
    before, after = (F.cross_entropy(trained(x), rows.y, reduction="none") for x in (rows.x, moved))
    assert bool((after > before).all())


def test_gradients_at_pixels_are_those_of_the_network_without_its_normalisation(trained, rows):
    bare = Classifier.wrap(trained.network, num_classes=trained.num_classes).frozen_copy()
    at_pixels = SignedAttack().perturb(trained.frozen_copy(), rows.x, rows.y)
    assert torch.equal(at_pixels, NORMALISED.perturb(bare, rows.x, rows.y))
    assert not torch.equal(at_pixels, NORMALISED.perturb(trained.frozen_copy(), rows.x, rows.y))


@pytest.mark.parametrize("gradients", GradientInput)
def test_lengths_are_shares_of_the_pixel_range(trained, rows, gradients):
    """The same network of pixels in 0..255, which it divides by 255 itself, is attacked by 255 times as much."""
    attack = SignedAttack(gradients=gradients)
    network, mean, std = trained.network, (0.5 * 255,) * 3, (0.25 * 255,) * 3
    wide = Classifier.wrap(network, num_classes=5, mean=mean, std=std, bounds=Bounds(0, 255)).frozen_copy()
    moved = attack.perturb(trained.frozen_copy(), rows.x, rows.y)
    torch.testing.assert_close(attack.perturb(wide, rows.x * 255, rows.y) / 255, moved)


def test_weights_fall_from_1_to_0_as_the_divergence_grows_and_have_no_gradient():
    divergences = torch.tensor([0.0, 1.0, 3.0, 9.0], requires_grad=True)
    (weights,) = torch.autograd.grad(weigh_easy(divergences, 3.0).sum(), divergences)
    expected = [(1 + torch.tensor(-3.0).exp()) / (1 + torch.tensor(d - 3.0).exp()) for d in divergences.tolist()]
    torch.testing.assert_close(weights, torch.stack(expected))
    assert weights[0] == 1
    assert weights[3] < 0.01


def test_hard_images_count_more_from_step_to_step(trained, rows, monkeypatch):
    seen = []
    monkeypatch.setattr(ruago, "weigh_easy", lambda each, hardness: seen.append(hardness) or weigh_easy(each, hardness))
    unlearn(trained, rows, method=method(hardness=1.0, hardness_growth=0.5))
    assert seen == [1.0, 1.5, 2.0, 2.5]


def test_distillation_keeps_the_old_answers(trained, rows):
    inversion = Inversion(steps=30)
    images = invert_classifier(trained.frozen_copy(), 40, (3, 8, 6), inversion, Context(Runtime()))
    before = compute_logits(trained, images)
    edits = [
        unlearn(trained, rows, method=method(inversion=inversion, distillation_weight=weight)) for weight in (0.1, 0.0)
    ]
    kept, lost = (distil(compute_logits(edit.classifier, images), before, 1.0).mean() for edit in edits)
    assert kept < 0.5 * lost


def test_rows_move_toward_the_adversarial_answers(trained, rows):
    settings = method(distillation_weight=0.0)
    wanted = settings.answer(trained.frozen_copy(), rows.x, rows.y, Context(Runtime()))
    torch.testing.assert_close(wanted.sum(dim=1), torch.ones(len(rows)))
    edit = unlearn(trained, rows, method=settings)
    distances = [
        float((compute_logits(each, rows.x).softmax(dim=1) - wanted).norm()) for each in (trained, edit.classifier)
    ]
    assert distances[1] < distances[0]
    assert edit.trace[-1].losses["rows"] < edit.trace[0].losses["rows"]
    assert edit.trace[0].losses["distillation"] == pytest.approx(0.0, abs=1e-4)


def test_the_divergence_is_from_the_teacher_at_the_temperature():
    student, teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()
    p, q = (teacher / 20).softmax(dim=1), (student / 20).softmax(dim=1)
    torch.testing.assert_close(distil(student, teacher, 20.0), 400 * (p * (p / q).log()).sum(dim=1))
