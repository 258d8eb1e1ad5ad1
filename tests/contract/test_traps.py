"""The eight traps of published implementations of L2UL, each shown not to be ours.

Where the faithful variant keeps a trap on purpose, a test shows that it does, so that the two stay apart.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from expunge.base.errors import ForgetSetError
from expunge.base.settings import describe_settings
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.methods import METHODS
from expunge.methods.l2ul.importance import compute_importance, scale_to_unit
from expunge.methods.l2ul.released import compute_released_importance
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode
from expunge.models.pixels import Bounds
from expunge.surrogates.attack import (
    Attack,
    Start,
    TargetDraw,
    attack_targets,
    draw_in_ball,
    draw_targets,
    l2_norms,
    project_to_ball,
)
from expunge.task.goals import GOALS, Misclassify, Relabel, draw_other_labels
from expunge.task.task import Limits, StopReason

ATTACK = {"targets_per_row": 4, "radius": 0.5, "steps": 2}
DIMENSIONS = 3 * 8 * 6


def importance_of(classifier, x, batch_size=256):
    return compute_importance(classifier, x, Context(Runtime(batch_size=batch_size)))


def released_importance_of(classifier, x, **settings):
    descent = METHODS["l2ul-faithful"]().descent
    return compute_released_importance(classifier, x, replace(descent, **settings), Context(Runtime()))


def assert_same_importance(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)


# 1. A replacement target that can equal the true label (always class K // 2 there).


@given(st.integers(2, 12), st.integers(0, 99))
def test_trap_1_no_adversarial_target_is_the_label(classes, seed):
    labels = torch.arange(classes)
    targets = draw_targets(labels, classes, 3 * classes, TargetDraw.DISTINCT, torch.Generator().manual_seed(seed))
    assert bool((targets != labels.unsqueeze(1)).all())
    for row, label in zip(targets, range(classes), strict=True):
        assert set(row[: classes - 1].tolist()) == set(range(classes)) - {label}


@given(st.integers(2, 12), st.integers(0, 99))
def test_trap_1_no_drawn_new_label_is_the_label(classes, seed):
    labels = torch.full((50,), classes // 2)
    assert bool((draw_other_labels(labels, classes, torch.Generator().manual_seed(seed)) != labels).all())


@pytest.mark.parametrize("goal", [Misclassify(), Relabel()], ids=["misclassify", "relabel"])
def test_trap_1_nor_is_any_label_that_an_edit_trains_toward(trained, rows, goal, monkeypatch):
    same = rows.rows([2])
    many = ForgetSet.numbered(same.x.repeat(20, 1, 1, 1), same.y.repeat(20))
    assert many.y.tolist() == [trained.num_classes // 2] * 20
    seen, loss = [], Relabel.loss

    def spy(self, logits, labels):
        seen.append(labels)
        return loss(self, logits, labels)

    monkeypatch.setattr(Relabel, "loss", spy)
    for seed in range(3):
        unlearn(trained, many, goal=goal, method="relabel-only", seed=seed, limits=Limits(steps=1))
    assert set(torch.cat(seen).tolist()) == {0, 1, 3, 4}


def test_trap_1_is_kept_by_the_faithful_variant_only():
    labels = torch.full((50,), 2)
    released = draw_targets(labels, 5, 10, METHODS["l2ul-faithful"]().attack.targets, torch.Generator().manual_seed(0))
    assert bool((released == 2).any())
    ours = draw_targets(labels, 5, 10, METHODS["l2ul"]().attack.targets, torch.Generator().manual_seed(0))
    assert not bool((ours == 2).any())


# 2. BatchNorm while editing is left to chance.


DESCENDING = [name for name, method in METHODS.items() if "descent" in method.__dataclass_fields__]
REACHING = {"boundary-shrink": {"nearest": "other"}}
"""Settings with which the goal is within reach of every row."""


def forget_two(mode, classifier, rows, name):
    """Run an edit that reaches its goal, so that the classifier returned is the one after the last step."""
    settings = {"descent": {"batchnorm": mode.value, "learning_rate": 0.01}, **REACHING.get(name, {})}
    if "attack" in METHODS[name].__dataclass_fields__:
        settings["attack"] = ATTACK
    kept = rows.rows([0, 3, 4, 5])
    retain = TensorImages(kept.ids, kept.y, kept.x)
    edit = unlearn(classifier, rows.rows([1, 2]), method=make_method(name, settings), retain=retain)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert edit.steps > 0
    return edit


@pytest.mark.parametrize("name", DESCENDING)
def test_trap_2_frozen_leaves_the_running_statistics_bit_for_bit(classifier, rows, name):
    classifier.module.train()
    edit = forget_two(BatchNormMode.FROZEN, classifier, rows, name)
    before, after = dict(classifier.module.named_buffers()), dict(edit.classifier.module.named_buffers())
    assert "network.1.running_mean" in before
    assert all(torch.equal(after[buffer], before[buffer]) for buffer in before)


@pytest.mark.parametrize("name", DESCENDING)
def test_trap_2_batch_moves_them(trained, rows, name):
    edit = forget_two(BatchNormMode.BATCH, trained, rows, name)
    before, after = trained.network[1], edit.classifier.network[1]
    assert not torch.equal(after.running_mean, before.running_mean)
    assert not torch.equal(after.running_var, before.running_var)
    passes = 2 if name in ("l2ul-faithful", "oracle") else 1
    assert after.num_batches_tracked == before.num_batches_tracked + passes * edit.steps


@pytest.mark.parametrize("name", DESCENDING)
def test_trap_2_is_an_explicit_setting_of_every_method(name):
    described = {each.name: each for each in describe_settings(METHODS[name])}
    assert described["descent.batchnorm"].default in list(BatchNormMode)
    expected = BatchNormMode.FROZEN if name == "l2ul" else BatchNormMode.BATCH
    assert METHODS[name]().descent.batchnorm is expected


@pytest.mark.parametrize("name", ["negative-gradient", "relabel-only", "boundary-shrink", "delete"])
def test_trap_2_a_single_row_has_no_statistics(trained, rows, name):
    descent = {"learning_rate": 0.01, "forget_batch": 2}
    method = make_method(name, {"descent": descent, **REACHING.get(name, {})})
    one, three = (unlearn(trained, rows.rows(each), method=method) for each in ([1], [1, 2, 3]))
    before = trained.network[1]
    assert torch.equal(one.classifier.network[1].running_var, before.running_var)
    assert three.stop_reason is StopReason.GOAL_REACHED
    batches_of_two = -(-three.steps // 2)
    assert three.classifier.network[1].num_batches_tracked == before.num_batches_tracked + batches_of_two


# 3. Importance that depends on the batch size, or on gradients left in an optimiser.


def test_trap_3_importance_does_not_depend_on_the_batch_size(trained, rows):
    expected = importance_of(trained, rows.x)
    for batch_size in (1, 3):
        assert_same_importance(importance_of(trained, rows.x, batch_size=batch_size), expected)
    singles = [importance_of(trained, rows.x[row : row + 1]) for row in range(len(rows))]
    mean = {name: torch.stack([single[name] for single in singles]).mean(dim=0) for name in expected}
    assert_same_importance(mean, expected)


def test_trap_3_nor_on_the_order_nor_on_how_often_the_rows_are_given(trained, rows):
    expected = importance_of(trained, rows.x)
    assert_same_importance(importance_of(trained, rows.x.flip(0)), expected)
    assert_same_importance(importance_of(trained, torch.cat([rows.x, rows.x])), expected)


@pytest.mark.parametrize("measure", [importance_of, released_importance_of])
def test_trap_3_nor_on_gradients_left_over_nor_on_the_mode(trained, classifier, rows, measure):
    for weight in classifier.module.parameters():
        weight.grad = torch.full_like(weight, 1e9)
    classifier.module.train()
    left_over = torch.optim.SGD(classifier.module.parameters(), lr=1.0)
    found = measure(classifier, rows.x)
    expected = measure(trained, rows.x)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert all(bool((weight.grad == 1e9).all()) for group in left_over.param_groups for weight in group["params"])


def test_trap_3_is_kept_by_the_faithful_variant_only(linear_classifier):
    """Without BatchNorm the release's gradients of two batches are |g1| and |g1 + g2|, each times the batch's size."""
    generator = torch.Generator().manual_seed(0)
    classifier = linear_classifier(torch.randn(4, DIMENSIONS, generator=generator), torch.zeros(4))
    x = torch.rand(3, 3, 8, 6, generator=generator)
    first, second = (
        torch.autograd.grad(classifier(part).norm(dim=1).mean(), classifier.module[1].bias)[0] for part in x.split(2)
    )
    expected = (2 * first.abs() + (first + second).abs()) / 4
    torch.testing.assert_close(released_importance_of(classifier, x, forget_batch=2)["1.bias"], expected)


def test_trap_3_nor_does_a_whole_edit(trained, classifier, rows):
    for weight in classifier.module.parameters():
        weight.grad = torch.full_like(weight, 1e9)
    method = make_method("l2ul", {"attack": ATTACK})
    edits = [unlearn(each, rows, method=method, limits=Limits(steps=2)) for each in (trained, classifier)]
    assert edits[0].classifier.sha256() == edits[1].classifier.sha256()


# 4. Importance as |gradient of the batch mean| in place of the mean of per-row |gradients|.


@pytest.fixture
def mirrored_rows(linear_classifier):
    """Return a linear classifier and two images whose outputs are v and -v: their gradients by the bias cancel."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, DIMENSIONS, generator=generator, dtype=torch.float64)
    offset = 0.4 * torch.rand(1, 3, 8, 6, generator=generator, dtype=torch.float64)
    x = torch.cat([0.5 + offset, 0.5 - offset])
    return linear_classifier(weight, -0.5 * weight.sum(dim=1)), x


def test_trap_4_rows_that_cancel_do_not_make_a_weight_unimportant(mirrored_rows):
    classifier, x = mirrored_rows
    output = classifier(x[:1])[0]
    torch.testing.assert_close(classifier(x[1:])[0], -output)
    importance = importance_of(classifier, x)["1.bias"]
    torch.testing.assert_close(importance, (output / output.norm()).abs().detach())
    released = released_importance_of(classifier, x)["1.bias"]
    torch.testing.assert_close(released, torch.zeros_like(released), rtol=0, atol=1e-12)


def test_trap_4_against_finite_differences_of_each_row(mirrored_rows):
    classifier, x = mirrored_rows
    importance = importance_of(classifier, x)["1.bias"]
    bias, step = classifier.module[1].bias, 1e-6
    for output in range(4):
        norms = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[output] += sign * step
                norms.append(classifier(x).norm(dim=1))
                bias[output] -= sign * step
        by_row = (norms[0] - norms[1]) / (2 * step)
        assert importance[output].item() == pytest.approx(by_row.abs().mean().item(), rel=1e-6)
        assert by_row.mean().item() == pytest.approx(0, abs=1e-6)


# 5. Min-max scaling of a constant tensor divides by zero.


@given(st.floats(0, 1e30), st.integers(1, 5))
def test_trap_5_a_constant_tensor_scales_to_zero(value, size):
    scaled = scale_to_unit({"w": torch.full((size, 2), value), "one": torch.tensor([value])})
    assert not scaled["w"].any()
    assert not scaled["one"].any()


def test_trap_5_an_edit_with_a_constant_importance_stays_finite(linear_classifier):
    """The bias of a classifier of two equal outputs has the same importance twice."""
    weight = torch.zeros(2, DIMENSIONS)
    weight[:, 0] = torch.tensor([1.0, -1.0])
    classifier = linear_classifier(weight, torch.zeros(2))
    rows = ForgetSet.numbered(torch.full((3, 3, 8, 6), 0.5), torch.zeros(3, dtype=torch.int64))
    importance = importance_of(classifier, rows.x)["1.bias"]
    assert importance[0] == importance[1] > 0
    for name in ("l2ul", "l2ul-faithful"):
        edit = unlearn(classifier, rows, method=make_method(name, {"attack": ATTACK}), limits=Limits(steps=3))
        assert all(bool(torch.isfinite(weight).all()) for weight in edit.classifier.module.parameters())
        assert all(math.isfinite(point.losses["importance"]) for point in edit.trace)


# 6. A random start drawn as noise in [0, 1]^d and projected: every start then lies on the sphere.


def attacked(classifier, x, targets, attack, batch_size=256):
    """Return the adversarial example of each image for its one target, in the order of the images."""
    context, generator = Context(Runtime(batch_size=batch_size)), torch.Generator().manual_seed(0)
    found = list(attack_targets(classifier, x, targets.unsqueeze(1), attack, generator=generator, context=context))
    numbers, made = (torch.cat(parts) for parts in zip(*found, strict=True))
    return made[numbers.argsort()]


def start_of(trained, start, count=1500, radius=4.0):
    """Return where the attack starts, from bounds so wide and steps so short that neither counts."""
    classifier = Classifier(trained.frozen_copy().module, 5, Bounds(-1e3, 1e3))
    x = torch.full((count, 3, 8, 6), 0.5)
    attack = Attack(radius=radius, step_size=1e-9, steps=1, start=start)
    made = attacked(classifier, x, torch.zeros(count, dtype=torch.int64), attack)
    return (made - x).flatten(1).double()


def test_trap_6_the_start_is_uniform_in_the_ball(trained):
    """Then (norm / radius)^d is uniform in 0..1, and the directions have no preference."""
    offsets = start_of(trained, METHODS["l2ul"]().attack.start)
    norms = offsets.norm(dim=1)
    assert stats.kstest(((norms / 4.0) ** DIMENSIONS).numpy(), "uniform").pvalue > 0.01
    directions = offsets / norms[:, None]
    assert float(directions.mean(dim=0).abs().max()) < 5 / math.sqrt(1500 * DIMENSIONS)


def test_trap_6_in_few_dimensions_too():
    """In the plane half of the points lie within 1 / sqrt(2) of the radius, evenly around."""
    points = draw_in_ball(torch.Size((4000, 1, 1, 2)), 3.0, torch.Generator().manual_seed(0)).flatten(1).double()
    inside = (points.norm(dim=1) < 3.0 / math.sqrt(2)).double().mean().item()
    assert inside == pytest.approx(0.5, abs=0.03)
    angles = (torch.atan2(points[:, 0], points[:, 1]) / (2 * math.pi) + 0.5).numpy()
    assert stats.kstest(angles, "uniform").pvalue > 0.01
    np.testing.assert_array_less(points.norm(dim=1).numpy(), 3.0 * (1 + 1e-6))


def test_trap_6_is_kept_by_the_faithful_variant_only(trained):
    """Every start is where the way to an image of noise leaves the ball: a bright image begins darker."""
    x = torch.full((200, 3, 8, 6), 0.9)
    attack = Attack(radius=4.0, step_size=1e-9, steps=1, start=METHODS["l2ul-faithful"]().attack.start)
    offsets = attacked(trained.frozen_copy(), x, torch.zeros(200, dtype=torch.int64), attack) - x
    torch.testing.assert_close(l2_norms(offsets).flatten(), torch.full((200,), 4.0), rtol=1e-4, atol=0)
    assert float(offsets.mean(dim=(1, 2, 3)).max()) < -0.1
    assert METHODS["l2ul"]().attack.start is Start.UNIFORM_IN_BALL


# 7. Norm and projection computed over the wrong axes; batches of one hide it.


def draw_batch(seed=0):
    """Return three images of 8x6 pixels, of very different norms."""
    x = torch.randn(3, 3, 8, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x * torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64).view(3, 1, 1, 1)


def test_trap_7_norms_in_a_batch_are_those_one_by_one():
    x = draw_batch()
    expected = [np.linalg.norm(image.numpy().ravel()) for image in x]
    np.testing.assert_allclose(l2_norms(x).flatten(), expected)
    torch.testing.assert_close(torch.cat([l2_norms(image) for image in x.split(1)]), l2_norms(x))


def test_trap_7_projections_in_a_batch_are_those_one_by_one():
    x, centre = draw_batch(), draw_batch(seed=1)
    together = project_to_ball(x, centre, 2.0)
    alone = [project_to_ball(a, b, 2.0) for a, b in zip(x.split(1), centre.split(1), strict=True)]
    torch.testing.assert_close(torch.cat(alone), together)
    distances = [np.linalg.norm((a - b).numpy().ravel()) for a, b in zip(together, centre, strict=True)]
    before = [np.linalg.norm((a - b).numpy().ravel()) for a, b in zip(x, centre, strict=True)]
    np.testing.assert_allclose(distances, np.minimum(before, 2.0))
    assert min(before) < 2.0 < max(before)


def test_trap_7_attacks_in_a_batch_are_those_one_by_one(trained, rows):
    frozen, targets = trained.frozen_copy(), (rows.y + 1) % 5
    attack = Attack(radius=0.7, step_size=0.3, steps=5, start=Start.NOISE_PROJECTED)
    made = {size: attacked(frozen, rows.x[:3], targets[:3], attack, batch_size=size) for size in (1, 3)}
    torch.testing.assert_close(made[1], made[3], rtol=1e-4, atol=1e-5)
    assert bool((l2_norms(made[3] - rows.x[:3]) <= 0.7 + 1e-5).all())
    assert bool((l2_norms(made[3] - rows.x[:3]) > 0.3).all())


def test_trap_7_each_image_takes_a_whole_step_of_its_own(trained, rows):
    """With a norm over the whole batch each would move by less."""
    frozen = Classifier(trained.frozen_copy().module, 5, Bounds(-1e3, 1e3))
    still, moved = (
        attacked(
            frozen,
            rows.x[:3],
            (rows.y[:3] + 1) % 5,
            Attack(radius=50.0, step_size=step_size, steps=1),
        )
        for step_size in (1e-9, 0.0125)
    )
    assert float(l2_norms(moved - rows.x[:3]).max()) < 50.0, "none is projected"
    torch.testing.assert_close(l2_norms(moved - still).flatten(), torch.full((3,), 0.0125), rtol=1e-3, atol=0)


# 8. Images scaled twice, so that the radius is meaningless.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * 255, "pixels within"),
        (lambda x: (x - 0.5) / 0.25, "pixels within"),
        (lambda x: x * 2 - 1, "pixels within"),
        (lambda x: x / 255, "pixels that use the range"),
    ],
    ids=["bytes", "normalised", "minus-one-to-one", "scaled-twice"],
)
@pytest.mark.parametrize("name", METHODS)
def test_trap_8_images_of_another_range_are_refused_at_the_edge(trained, rows, name, change, words):
    options = {"minimum_right": 0, "retain": TensorImages(rows.ids, rows.y, rows.x)}
    changed = ForgetSet(rows.ids, change(rows.x), rows.y)
    with pytest.raises(ForgetSetError, match=f"`x`: expected {words}"):
        unlearn(trained, changed, method=name, goal=GOALS[METHODS[name].goals[0]], **options)


def test_trap_8_the_radius_is_in_pixels_and_not_in_normalised_units(trained, rows):
    """Normalisation by a small deviation stretches distances: the ball must be that of the pixels."""
    stretched = Classifier.wrap(trained.network, num_classes=5, mean=(0.5,), std=(0.01,)).frozen_copy()
    made = attacked(stretched, rows.x, (rows.y + 1) % 5, Attack(radius=0.5, step_size=0.2, steps=5))
    assert float(l2_norms(made - rows.x).max()) <= 0.5 + 1e-5
    assert float(l2_norms(made - rows.x).min()) > 0.1
