import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from expunge.base.errors import SettingsError
from expunge.compute.context import Context
from expunge.compute.runtime import SILENT, Precision, Runtime
from expunge.models.pixels import Bounds
from expunge.surrogates.attack import (
    SHORTEST_GRADIENT,
    Attack,
    Order,
    Start,
    TargetDraw,
    attack_targets,
    draw_in_ball,
    draw_targets,
    l2_norms,
    project_to_ball,
)
from expunge.task.goals import Relabel

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
QUICK = Attack(radius=1.0, step_size=0.2, steps=12)


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Recorder:
    units, total = 0, None

    @contextmanager
    def phase(self, name, total):
        self.total = total

        def advance(units):
            self.units += units

        yield advance


def run(classifier, x, targets, attack=QUICK, *, batch_size=256, seed=0, progress=SILENT):
    context = Context(Runtime(batch_size=batch_size, progress=progress))
    generator = torch.Generator().manual_seed(seed)
    made = torch.full_like(x, torch.nan)
    for numbers, examples in attack_targets(
        classifier, x, targets.unsqueeze(1), attack, generator=generator, context=context
    ):
        assert bool(made[numbers].isnan().all())
        made[numbers] = examples
    return made, context.cost()


def attack_by_hand(classifier, x, targets, attack, seed):
    """An independent one: each image on its own, norms over everything, no batches. Return images and evaluations."""
    generator, made, evaluations = torch.Generator().manual_seed(seed), [], 0
    for image, target in zip(x, targets, strict=True):
        if attack.start is Start.UNIFORM_IN_BALL:
            offset = draw_in_ball(image[None].shape, attack.radius, generator)[0]
        else:
            offset = torch.rand(image.shape, generator=generator) - image
        current = (image + offset * min(1, attack.radius / offset.norm().item())).clamp(0, 1)
        lengths = torch.linspace(1, attack.last_step, attack.steps) if attack.steps > 1 else [1]
        for length in lengths:
            variable = current.clone().requires_grad_(True)
            logits = classifier(variable[None])[0]
            evaluations += 1
            others = torch.cat([logits[:target], logits[target + 1 :]])
            if attack.enough is not None and logits[target] - others.max() >= attack.enough:
                break
            F.cross_entropy(logits[None], target[None]).backward()
            moved = current - attack.step_size * length * variable.grad / variable.grad.norm()
            away = (moved.clamp(0, 1) if attack.order is Order.BOUNDS_FIRST else moved) - image
            current = (image + away * min(1, attack.radius / away.norm().item())).clamp(0, 1)
        made.append(current)
    return torch.stack(made), evaluations


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
@pytest.mark.parametrize(
    "options",
    [{}, {"last_step": 0.3}, {"enough": 0.2}, {"enough": 0.2, "last_step": 0.5}, {"order": Order.BOUNDS_FIRST}],
)
def test_the_attack_equals_a_plain_loop_over_single_images(trained, rows, start, options):
    attack = Attack(radius=4.0, step_size=0.5, steps=9, start=start, **options)
    frozen, x, targets = trained.frozen_copy(), rows.x[:3], (rows.y[:3] + 1) % 5
    expected, evaluations = attack_by_hand(frozen, x, targets, attack, seed=5)
    made, cost = run(frozen, x, targets, attack, seed=5)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert cost.gradient_evaluations == evaluations
    assert ("enough" in options) == (evaluations < 27)


@pytest.mark.parametrize("enough", [None, 0.2])
@pytest.mark.parametrize("start", Start)
def test_the_result_does_not_depend_on_how_many_go_through_at_once(trained, rows, start, enough):
    attack = Attack(radius=4.0, step_size=0.5, steps=9, start=start, enough=enough)
    targets = (rows.y + 1) % 5
    whole, cost = run(trained.frozen_copy(), rows.x, targets, attack)
    for batch_size in (1, 4):
        parts, cost_of_parts = run(trained.frozen_copy(), rows.x, targets, attack, batch_size=batch_size)
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
        assert cost_of_parts.gradient_evaluations == cost.gradient_evaluations


def test_each_target_of_an_image_has_its_place(trained, rows):
    targets = torch.stack([(rows.y + offset) % 5 for offset in (1, 2)], dim=1)
    attack = Attack(radius=6.0, step_size=0.5, steps=40, enough=1.0)
    made = torch.zeros(12, 3, 8, 6)
    for numbers, examples in attack_targets(
        trained.frozen_copy(),
        rows.x,
        targets,
        attack,
        generator=torch.Generator(),
        context=Context(Runtime(batch_size=4)),
    ):
        made[numbers] = examples
    logits = trained(made).detach()
    assert torch.equal(logits.argmax(dim=1), targets.flatten())
    assert float(l2_norms(made - rows.x.repeat_interleave(2, dim=0)).max()) <= 6.0 + 1e-5
    assert float(Relabel().gap(logits, targets.flatten()).max()) <= -1.0 + 1e-4


def test_images_that_have_reached_their_target_cost_no_more(trained, rows):
    strong = Attack(radius=4.0, step_size=0.5, steps=20)
    targets = (rows.y + 1) % 5
    recorder = Recorder()
    whole, _ = run(trained.frozen_copy(), rows.x, targets, strong)
    left, cost = run(trained.frozen_copy(), rows.x, targets, replace(strong, enough=0.5), progress=recorder)
    assert torch.equal(trained(left).argmax(dim=1), trained(whole).argmax(dim=1))
    assert cost.gradient_evaluations < 6 * 20
    assert recorder.units == recorder.total == 6 * 20


def test_bfloat16_reaches_the_same_targets(trained, rows):
    strong = Attack(radius=4.0, step_size=0.5, steps=20, enough=0.5, precision=Precision.BFLOAT16)
    made, _ = run(trained.frozen_copy(), rows.x, (rows.y + 1) % 5, strong)
    assert made.dtype == torch.float32
    assert torch.equal(trained(made).argmax(dim=1), (rows.y + 1) % 5)
    exact, _ = run(trained.frozen_copy(), rows.x, (rows.y + 1) % 5, replace(strong, precision=Precision.FLOAT32))
    assert float(l2_norms(made - exact).max()) < 0.5 * float(l2_norms(exact - rows.x).min())


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


@pytest.mark.parametrize(("bounds", "gap", "length"), [(Bounds(), 15.0, 0.3059), (Bounds(0, 255), 21.0, 0.1934)])
def test_where_the_gradient_vanishes_the_step_is_shorter(linear_classifier, bounds, gap, length):
    """Of two logits so far apart the gradient is about e^-gap, and so the step e^-gap over the shortest gradient."""
    weight = torch.zeros(2, 144)
    weight[1, 0] = 1.0
    sure = linear_classifier(weight, torch.tensor([gap + 0.5, 0.0]), bounds).frozen_copy()
    x, attack = torch.full((1, 3, 8, 6), 0.5), Attack(radius=1e-3, step_size=1e-3, steps=1)
    still, moved = (run(sure, x, torch.tensor([0]), replace(attack, step_size=size))[0] for size in (1e-9, 1e-4))
    assert l2_norms(moved - still).item() == pytest.approx(1e-4 * length, rel=0.05)
    assert length == pytest.approx(math.exp(-gap) * bounds.width / SHORTEST_GRADIENT, rel=0.01)


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
        ("last_step", 1.5, "at least 0 and at most 1, got 1.5"),
        ("enough", -1.0, "at least 0, got -1"),
        ("precision", "float8", "one of float32, bfloat16, auto, got 'float8'"),
        ("targets_per_row", -1, "at least 0, got -1"),
        ("start", "anywhere", "one of uniform_in_ball, noise_projected, got 'anywhere'"),
    ],
)
def test_settings_out_of_range(name, value, words):
    with pytest.raises(SettingsError, match=f"`{name}`: expected {words}"):
        Attack(**{name: value})
