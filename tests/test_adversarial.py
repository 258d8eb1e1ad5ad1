import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from expunge.adversarial import (
    Attack,
    Start,
    TargetDraw,
    attack_targets,
    draw_in_ball,
    draw_targets,
    l2_norms,
    project_to_ball,
)
from expunge.classifier import Bounds
from expunge.errors import SettingsError
from expunge.runtime import CostMeter, Runtime

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
QUICK = Attack(radius=1.0, step_size=0.2, steps=12)


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(classifier, x, targets, attack=QUICK, batch_size=256, seed=0):
    meter = CostMeter(Runtime(batch_size=batch_size))
    made = attack_targets(classifier, x, targets, attack, generator=torch.Generator().manual_seed(seed), meter=meter)
    return made, meter.cost()


@given(SHAPES, st.integers(0, 99))
def test_norms_are_one_an_image(shape, seed):
    x = draw(shape, seed)
    norms = l2_norms(x)
    assert norms.shape == (shape[0], 1, 1, 1)
    for image, norm in zip(x, norms.flatten().tolist(), strict=True):
        assert math.isclose(norm, math.sqrt(sum(value**2 for value in image.flatten().tolist())), rel_tol=1e-9)


@given(SHAPES, st.floats(0.01, 10), st.integers(0, 99))
def test_projection_is_the_nearest_point_of_the_ball(shape, radius, seed):
    x, centre = draw(shape, seed), draw(shape, seed + 100)
    projected = project_to_ball(x, centre, radius)
    distance = l2_norms(projected - centre).flatten()
    before = l2_norms(x - centre).flatten()
    torch.testing.assert_close(distance, before.clamp_max(radius))
    inside = before <= radius
    torch.testing.assert_close(projected[inside], x[inside])
    cosine = F.cosine_similarity((projected - centre).flatten(1), (x - centre).flatten(1))
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    torch.testing.assert_close(project_to_ball(projected, centre, radius), projected)


def test_the_centre_projects_to_itself():
    x = draw((3, 3, 8, 6), 0)
    assert torch.equal(project_to_ball(x, x, 1.0), x)


@given(SHAPES, st.floats(0.01, 10), st.integers(0, 99))
def test_points_are_drawn_within_the_ball(shape, radius, seed):
    drawn = draw_in_ball(torch.Size(shape), radius, torch.Generator().manual_seed(seed))
    assert drawn.shape == shape
    assert float(l2_norms(drawn).max()) <= radius * (1 + 1e-5)


@given(st.integers(2, 9), st.integers(0, 20), st.integers(0, 99))
def test_targets_are_other_labels_and_distinct_while_there_are_labels_left(classes, count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (3,), generator=generator)
    targets = draw_targets(labels, classes, count, TargetDraw.DISTINCT, generator)
    assert targets.shape == (3, count)
    for label, row in zip(labels.tolist(), targets.tolist(), strict=True):
        assert label not in row
        assert all(0 <= target < classes for target in row)
        times = [row.count(other) for other in range(classes) if other != label]
        assert max(times) - min(times) <= 1
        assert len(set(row[: classes - 1])) == min(count, classes - 1)


def test_targets_are_drawn_evenly():
    targets = draw_targets(torch.full((4000,), 2), 5, 1, TargetDraw.DISTINCT, torch.Generator().manual_seed(0))
    counts = torch.bincount(targets.flatten(), minlength=5)
    assert bool(((counts[[0, 1, 3, 4]] - 1000).abs() < 120).all())


def test_released_targets_are_of_all_labels_and_k_half():
    labels = torch.arange(5).repeat(100)
    targets = draw_targets(labels, 5, 4, TargetDraw.RELEASED, torch.Generator().manual_seed(0))
    own = targets == labels.unsqueeze(1)
    assert bool((labels.unsqueeze(1).expand_as(targets)[own] == 2).all())
    assert (targets == 2).double().mean() > 0.3


@pytest.mark.parametrize("count", [1, 3])
def test_the_attack_finds_the_targets_within_ball_and_bounds(trained, rows, count):
    x, targets = rows.x[:count], (rows.y[:count] + 1) % 5
    strong = Attack(radius=4.0, step_size=0.5, steps=20)
    made, cost = run(trained.frozen_copy(), x, targets, strong)
    assert made.shape == x.shape
    assert torch.equal(trained(made).argmax(dim=1), targets)
    assert float(l2_norms(made - x).max()) <= 4.0 + 1e-5
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert not made.requires_grad
    assert cost.gradient_evaluations == 20 * count
    assert set(cost.seconds_by_phase) == {"attack"}


@pytest.mark.parametrize("start", Start)
def test_the_attack_equals_a_plain_loop_over_single_images(trained, rows, start):
    """An independent one: each image on its own, norms over everything, no batches."""
    attack = Attack(radius=0.7, step_size=0.2, steps=6, start=start)
    frozen, x, targets = trained.frozen_copy(), rows.x[:3], (rows.y[:3] + 1) % 5
    generator = torch.Generator().manual_seed(5)
    if start is Start.UNIFORM_IN_BALL:
        offsets = draw_in_ball(x.shape, attack.radius, generator)
    else:
        offsets = torch.rand(x.shape, generator=generator)
    expected = []
    for image, offset, target in zip(x, offsets, targets, strict=True):
        current = (image + offset * min(1, attack.radius / offset.norm().item())).clamp(0, 1)
        for _ in range(attack.steps):
            variable = current.clone().requires_grad_(True)
            F.cross_entropy(frozen(variable[None]), target[None]).backward()
            moved = current - attack.step_size * variable.grad / variable.grad.norm()
            away = moved - image
            current = (image + away * min(1, attack.radius / away.norm().item())).clamp(0, 1)
        expected.append(current)
    made, _ = run(frozen, x, targets, attack, seed=5)
    torch.testing.assert_close(made, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_the_result_does_not_depend_on_how_many_go_through_at_once(trained, rows):
    """The noise of the released start is drawn image after image, so batches of any size start alike."""
    attack = Attack(radius=0.7, step_size=0.2, steps=6, start=Start.NOISE_PROJECTED)
    targets = (rows.y + 1) % 5
    whole, _ = run(trained.frozen_copy(), rows.x, targets, attack)
    for batch_size in (1, 4):
        parts, _ = run(trained.frozen_copy(), rows.x, targets, attack, batch_size)
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_the_same_generator_gives_the_same_examples(trained, rows):
    targets = (rows.y + 1) % 5
    once, again, other = (run(trained.frozen_copy(), rows.x, targets, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_without_a_gradient_the_image_stays_where_it_started(linear_classifier):
    flat = linear_classifier(torch.zeros(3, 144), torch.tensor([1.0, 0.0, -1.0])).frozen_copy()
    x = torch.full((3, 3, 8, 6), 0.5)
    made, _ = run(flat, x, torch.tensor([0, 1, 2]))
    assert bool(torch.isfinite(made).all())
    assert float(l2_norms(made - x).max()) <= QUICK.radius + 1e-5


def test_radius_and_bounds_are_in_the_units_of_the_pixels(linear_classifier):
    weight = torch.randn(3, 144, generator=torch.Generator().manual_seed(0)) / 100
    of_bytes = linear_classifier(weight, torch.zeros(3), Bounds(0, 255)).frozen_copy()
    x = torch.full((1, 3, 8, 6), 128.0)
    made, _ = run(of_bytes, x, torch.tensor([1]), Attack(radius=300.0, step_size=100.0, steps=10))
    assert l2_norms(made - x).item() == pytest.approx(300, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("radius", 0, "above 0, got 0"),
        ("step_size", -1.0, "above 0, got -1"),
        ("steps", 0, "at least 1, got 0"),
        ("targets_per_row", -1, "at least 0, got -1"),
        ("start", "anywhere", "one of uniform_in_ball, noise_projected, got 'anywhere'"),
    ],
)
def test_settings_out_of_range(name, value, words):
    with pytest.raises(SettingsError, match=f"`{name}`: expected {words}"):
        Attack(**{name: value})
