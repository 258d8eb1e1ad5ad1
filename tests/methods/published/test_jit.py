import pytest
import torch

from expunge.methods.published.jit import JiT, measure_roughness
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.pixels import Bounds


def test_roughness_of_a_linear_classifier_is_the_gain_along_the_noise(linear_classifier):
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    classifier = linear_classifier(weight, torch.zeros(3))
    x = torch.rand(4, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    x[0, 0, 0, 0], x[1, 0, 0, 0] = -100.0, 100.0
    noise = torch.randn(4, 2, 2, 2, generator=torch.Generator().manual_seed(2))
    noise[:2, 0, 0, 0] = 0
    expected = (noise.flatten(1) @ weight.T).norm(dim=1) / noise.flatten(1).norm(dim=1)
    torch.testing.assert_close(measure_roughness(classifier, x, classifier(x), noise), expected, atol=1e-4, rtol=1e-4)


def test_the_noisy_branch_has_no_gradient(linear_classifier):
    """With a gradient on both sides the step would be that of the difference, which is 0 for a bias."""
    classifier = linear_classifier(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(3))
    x = torch.rand(2, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    noise = 0.01 * torch.randn(2, 2, 2, 2, generator=torch.Generator().manual_seed(2))
    measure_roughness(classifier, x, classifier(x), noise).sum().backward()
    assert classifier.module[1].bias.grad.abs().sum() > 0


def test_noise_stays_in_the_range_of_the_batch(linear_classifier):
    classifier = linear_classifier(torch.ones(2, 4), torch.zeros(2))
    x = torch.tensor([0.2, 0.8, 0.5, 0.5]).view(1, 1, 2, 2)
    noise = torch.tensor([-1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    assert measure_roughness(classifier, x, classifier(x), noise).item() == 0.0


def test_noise_and_distance_are_in_units_of_the_normalised_image(trained, rows):
    mean, std = trained.module.mean, trained.module.std
    noise = 0.3 * torch.randn(rows.x.shape, generator=torch.Generator().manual_seed(2))
    bare = Classifier(trained.network, 5, Bounds(-2.0, 2.0))
    normalised = (rows.x - mean) / std
    expected = measure_roughness(bare, normalised, bare(normalised), noise)
    torch.testing.assert_close(measure_roughness(trained, rows.x, trained(rows.x), noise), expected)


def test_the_first_loss_is_the_sum_over_rows_of_the_mean_over_perturbations(trained, rows, plain_training):
    method = JiT(perturbations=4, sigma=0.05, training=plain_training(learning_rate=1e-9))
    edit = unlearn(trained, rows, method=method)
    order = torch.randperm(6, generator=edit.task.generator("training order"))
    noise, x = edit.task.generator("jitter"), rows.x[order]
    ratios = [
        measure_roughness(trained, x, trained(x), 0.05 * torch.randn(x.shape, generator=noise)).sum() for _ in range(4)
    ]
    assert edit.trace[0].losses["roughness"] == pytest.approx(torch.stack(ratios).mean().item(), rel=1e-4)
