import math

import pytest
import torch

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.least_change.curvature import compute_whitening
from expunge.methods.least_change.iterate import Iterate, Objective, Problem, centred, norm
from expunge.methods.tracing import find_layers
from expunge.task.evaluation import compute_logits
from expunge.task.task import Task
from expunge.task.transforms import find_transforms


@pytest.fixture
def surrogates():
    return torch.rand(24, 3, 8, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture
def objective(classifier, surrogates):
    """Return the objective in double precision: differences along a step are then those of the function."""
    classifier.module.double()
    context = Context(Runtime(batch_size=7))
    layers = find_layers(classifier, surrogates)
    generator = torch.Generator().manual_seed(0)
    whitening = compute_whitening(classifier, layers, surrogates, damping=0.01, generator=generator, context=context)
    return Objective(classifier, layers, whitening, context)


def draw_step(objective, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(layer.shape, generator=generator, dtype=torch.float64) for layer in objective.layers]


def scaled(step, factor):
    return [factor * part for part in step]


def test_the_gradient_tells_how_the_objective_changes_along_a_step(objective, surrogates):
    logits, iterate = compute_logits(objective.classifier, surrogates), Iterate(objective, 0.0)
    start, step = scaled(draw_step(objective, 1), 5e-2), scaled(draw_step(objective), 1e-7)
    values = []
    for sign in (1, -1):
        iterate.write([a + sign * b for a, b in zip(start, step, strict=True)])
        values.append(0.5 * objective.change(surrogates, logits).double().square().sum(dim=1).mean())
    iterate.write(start)
    value, gradient = objective.gradient(surrogates, logits)
    slope = sum(float((a.double() * b.double()).sum()) for a, b in zip(gradient, step, strict=True))
    assert float(values[0] - values[1]) / 2 == pytest.approx(slope, rel=1e-4)
    assert value == pytest.approx(float(values[0] + values[1]) / 2, rel=1e-6)


def test_the_curvature_is_what_a_small_step_does_to_the_answers(objective, surrogates):
    logits, iterate, step = (
        compute_logits(objective.classifier, surrogates),
        Iterate(objective, 0.0),
        draw_step(objective),
    )
    iterate.measure_curvature(step, surrogates, logits)
    iterate.write(scaled(step, 1e-3))
    change = centred(compute_logits(objective.classifier, surrogates) - logits).square().sum(dim=1).mean()
    assert iterate.curvature == pytest.approx(float(change) / (1e-3 * norm(step)) ** 2, rel=0.1)


def test_measuring_leaves_the_weights_and_the_curvature_falls_slowly(objective, surrogates):
    logits, iterate = compute_logits(objective.classifier, surrogates), Iterate(objective, 0.0)
    before = objective.classifier.sha256()
    iterate.curvature = 1e9
    iterate.measure_curvature(draw_step(objective), surrogates, logits)
    assert objective.classifier.sha256() == before
    assert iterate.curvature == pytest.approx(0.7e9)


def test_no_step_changes_the_answers_by_more_than_is_allowed(objective):
    iterate, step = Iterate(objective, 0.5), draw_step(objective)
    iterate.curvature = 4.0
    iterate.push(step, 1.0)
    assert norm(iterate.velocity) == pytest.approx(norm(step) / 4)
    iterate.push(step, 1.0, largest=0.01)
    assert norm(iterate.velocity) * math.sqrt(iterate.curvature) == pytest.approx(0.01)


def test_the_mean_is_that_of_the_places_since_it_was_begun(objective):
    iterate = Iterate(objective, 0.0)
    iterate.curvature = 1.0
    places = []
    for seed in range(4):
        iterate.push(draw_step(objective, seed), 1.0)
        iterate.advance()
        if seed == 1:
            iterate.forget_mean()
        if seed > 1:
            iterate.average()
            places.append(iterate.position)
    for number, part in enumerate(iterate.mean):
        torch.testing.assert_close(part, (places[0][number] + places[1][number]) / 2)


def test_the_place_at_the_start_is_the_weights_as_they_were(objective):
    iterate, before = Iterate(objective, 0.0), objective.classifier.sha256()
    iterate.write(draw_step(objective))
    assert objective.classifier.sha256() != before
    iterate.write(iterate.position)
    assert objective.classifier.sha256() == before


@pytest.mark.parametrize("fresh", [None, torch.full((2, 3, 8, 6), 0.75)])
def test_half_of_a_step_are_the_users_own_images_and_half_of_those_are_changed(trained, rows, fresh):
    context = Context(Runtime())
    task = Task.create(trained, rows, transforms=find_transforms(["mirrored"]))
    layers = find_layers(trained, rows.x)
    own, pool = torch.linspace(0, 0.5, 6).expand(5, 3, 8, 6), torch.ones(9, 3, 8, 6)
    problem = Problem(
        task=task,
        context=context,
        reference=trained,
        objective=Objective(trained, layers, None, context),
        iterate=None,
        surrogates=pool,
        logits=compute_logits(trained, pool),
        own=own,
        apart=(),
        rate=1.0,
        memory_gigabytes=1.0,
        cut=None,
        enter=lambda x: x,
    )
    x, answers = problem.draw(20, torch.Generator().manual_seed(0), fresh)
    torch.testing.assert_close(answers, compute_logits(trained, x))
    counts = [
        sum(torch.equal(image, kind) for image in x)
        for kind in (own[0], own[0].flip(-1), pool[0], torch.full((3, 8, 6), 0.75))
    ]
    assert counts == [5, 5, 10 - counts[3], 0 if fresh is None else 2]
