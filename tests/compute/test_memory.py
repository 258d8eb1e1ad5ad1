import pytest
import torch

from expunge.base.errors import SettingsError
from expunge.compute.runtime import Runtime
from expunge.methods.l2ul.stable import L2UL, Attack, Descent
from expunge.methods.unlearn import unlearn
from expunge.models.memory import OVERHEAD, SHARE_OF_ACTIVATIONS, fit_batch, measure_activations
from expunge.task.task import Limits

GIGABYTE = 2**30


def test_activations_are_counted_by_image_and_without_weights(trained, rows):
    one, three = (measure_activations(trained, rows.x[:count]) for count in (1, 3))
    assert three == pytest.approx(3 * one, rel=0.1)
    pixels, half = 8 * 6, 4 * 3
    least = 4 * (3 * pixels + 2 * 8 * pixels + 2 * 8 * half)
    assert least <= one <= 3 * least
    assert all(weight.grad is None for weight in trained.module.parameters())


def test_batches_are_made_to_fit(trained, rows):
    per_image = OVERHEAD * measure_activations(trained, rows.x[:1])
    budget = 5.5 * per_image / SHARE_OF_ACTIVATIONS / GIGABYTE
    assert fit_batch(Runtime(memory_gigabytes=budget), trained, rows.x).batch_size == 5
    assert fit_batch(Runtime(memory_gigabytes=budget, batch_size=3), trained, rows.x).batch_size == 3
    runtime = Runtime(batch_size=300)
    assert fit_batch(runtime, trained, rows.x) is runtime


def test_a_budget_too_small_for_one_image(trained, rows):
    with pytest.raises(SettingsError, match=r"`memory_gigabytes`: expected at least .* for one image, got 1e-06"):
        fit_batch(Runtime(memory_gigabytes=1e-6), trained, rows.x)
    with pytest.raises(SettingsError, match="`memory_gigabytes`: expected above 0, got 0"):
        Runtime(memory_gigabytes=0)


def test_an_edit_in_small_batches_with_examples_on_disk_is_the_same(trained, rows, tmp_path):
    method = L2UL(
        attack=Attack(targets_per_row=3, radius=0.5, step_size=0.2, steps=3),
        adversarial_batch=13,
        descent=Descent(learning_rate=0.01, forget_batch=6),
    )
    budget = 1.1 * OVERHEAD * measure_activations(trained, rows.x[:1]) / SHARE_OF_ACTIVATIONS / GIGABYTE
    assert Runtime(memory_gigabytes=budget).pool_bytes < rows.x[0].nbytes * 18
    whole, parts = (
        unlearn(trained, rows, method=method, limits=Limits(steps=4), runtime=runtime)
        for runtime in (Runtime(), Runtime(memory_gigabytes=budget, scratch=tmp_path))
    )
    assert (parts.cost.batch_size, whole.cost.batch_size) == (1, 256)
    for name, weight in whole.classifier.network.state_dict().items():
        torch.testing.assert_close(parts.classifier.network.state_dict()[name], weight, rtol=1e-4, atol=1e-5)
    assert parts.cost.gradient_evaluations == whole.cost.gradient_evaluations
    assert [point.losses.keys() for point in parts.trace] == [point.losses.keys() for point in whole.trace]
    for few, all_ in zip(parts.trace, whole.trace, strict=True):
        assert few.losses == pytest.approx(all_.losses, rel=1e-3, abs=1e-5)
