import pytest
import torch
import torch.nn.functional as F

from expunge.base.errors import ClassifierError
from expunge.methods.published.head import find_head
from expunge.methods.published.imu import IMU, measure_influences, weigh_rows
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.classifier import Classifier


def test_influences_are_those_of_the_definition():
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(5, 7, generator=generator)
    fisher = torch.rand(7, generator=generator) + 0.1
    mean = sum(gradients[row] for row in range(5)) / 5
    expected = [-sum(float(g * m / f) for g, m, f in zip(row, mean, fisher, strict=True)) for row in gradients]
    torch.testing.assert_close(measure_influences(lambda: gradients, fisher), torch.tensor(expected))


def test_rows_of_positive_influence_are_left_out_and_the_strongest_are_clipped():
    influences = torch.tensor([-1.0, 3.0, -9.0, -4.0, 0.0])
    chosen, weights = weigh_rows(influences, strongest=1.0, clip=0.5)
    assert chosen.tolist() == [2, 3, 0]
    assert weights.tolist() == [2.0, 2.0, 1.0]


@pytest.mark.parametrize(("strongest", "kept"), [(1.0, 4), (0.5, 2), (0.3, 1), (0.1, 1)])
def test_the_strongest_share_is_kept_and_never_none(strongest, kept):
    chosen, weights = weigh_rows(-torch.arange(1.0, 5.0), strongest=strongest, clip=1.0)
    assert chosen.tolist() == [3, 2, 1, 0][:kept]
    assert weights.tolist() == pytest.approx([2.0, 3**0.5, 2**0.5, 1.0][:kept])


def test_without_any_influence_all_rows_count_alike():
    chosen, weights = weigh_rows(torch.zeros(3), strongest=0.5, clip=0.93)
    assert chosen.tolist() == [0, 1, 2]
    assert weights.tolist() == [1.0, 1.0, 1.0]


def test_only_the_head_and_the_statistics_of_batchnorm_change(trained, rows):
    edit = unlearn(trained, rows, method=IMU())
    before, after = trained.network.state_dict(), edit.classifier.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    statistics = {f"{number}.{name}" for number in (1, 4) for name in ("running_mean", "running_var")}
    assert changed == {"8.weight", "8.bias", *statistics, "1.num_batches_tracked", "4.num_batches_tracked"}
    assert all(weight.requires_grad for weight in edit.classifier.module.parameters())


def test_the_first_losses_are_those_of_the_weighted_rows(trained, rows, plain_training):
    method = IMU(penalty=0.5, clip=1.0, training=plain_training(learning_rate=1e-9))
    edit = unlearn(trained, rows, method=method)
    head = trained.copy().network[8]
    features = trained.network[:8]((rows.x - 0.5) / 0.25).detach()
    gradients = []
    for row in range(6):
        loss = F.cross_entropy(head(features[row : row + 1]), rows.y[row : row + 1])
        gradients.append(torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(head.parameters()))]))
    stacked = torch.stack(gradients)
    influence = -(stacked / (stacked.square().mean(dim=0) + 0.01)) @ stacked.mean(dim=0)
    weight = influence.clamp_max(0).abs().sqrt()
    loss = F.cross_entropy(trained(rows.x), rows.y, reduction="none").detach()
    expected = -float((weight * loss).sum() / weight.sum())
    norm = float((head.weight.abs().sum() + head.bias.abs().sum()).detach())
    assert edit.trace[0].losses["rows"] == pytest.approx(expected, rel=1e-3)
    assert edit.trace[0].losses["sparsity"] == pytest.approx(0.5 * norm, rel=1e-5)


def test_the_head_is_what_a_pass_calls_last(trained, rows):
    assert find_head(trained, rows.x).name == "network.8"
    assert find_head(trained, rows.x).width == 8


def test_a_head_that_is_not_to_be_edited_is_said(classifier, rows):
    classifier.network[8].weight.requires_grad_(False)
    with pytest.raises(ClassifierError, match=r"expected a last layer.* got network\.8, which is not to be edited"):
        unlearn(classifier, rows, method=make_method("imu"))


def test_a_classifier_without_such_a_layer_is_said(rows):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LayerNorm(144))
    with pytest.raises(ClassifierError, match=r"expected a last layer.* got none"):
        find_head(Classifier(module, 144), rows.x)
