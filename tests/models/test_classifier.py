import copy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from expunge.base.errors import ClassifierError
from expunge.data.preprocessing import Preprocessing
from expunge.models.classifier import Classifier, check_logits
from expunge.models.copying import put_weights
from expunge.models.normalised import Normalised
from expunge.models.pixels import Bounds, Normalisation


def tiny(classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, classes))


@pytest.mark.parametrize(("lower", "upper"), [(1.0, 1.0), (2, 1), (float("nan"), 1)])
def test_bounds_are_in_order(lower, upper):
    with pytest.raises(ClassifierError, match="`bounds`: expected lower < upper, got"):
        Bounds(lower, upper)


@given(st.floats(-100, 100), st.floats(0.1, 100), st.integers(0, 99))
def test_clip_stays_within_and_moves_nothing_that_is_within(lower, width, seed):
    bounds = Bounds(lower, lower + width)
    x = lower + width * 3 * (torch.rand(50, generator=torch.Generator().manual_seed(seed)) - 0.5)
    clipped = bounds.clip(x)
    assert bool(((clipped >= torch.tensor(bounds.lower)) & (clipped <= torch.tensor(bounds.upper))).all())
    assert bool((clipped == x)[(x > bounds.lower) & (x < bounds.upper)].all())


def test_normalisation_is_inside_and_leaves_the_networks_own_state():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    classifier = Classifier.wrap(network, num_classes=3, mean=(0.1, 0.2, 0.3), std=(1, 2, 4))
    x = torch.rand(3, 3, 2, 2)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 4.0])
    expected = network((x - mean[None, :, None, None]) / std[None, :, None, None])
    assert torch.equal(classifier(x), expected)
    assert classifier.network is network
    assert list(classifier.network.state_dict()) == ["1.weight", "1.bias"]
    assert not [name for name in classifier.module.state_dict() if "mean" in name or "std" in name]


def test_the_normalisation_can_be_read_again():
    given = Normalisation((0.5, 0.25, 0.125), (1.0, 2.0, 4.0))
    classifier = Classifier.wrap(tiny(), num_classes=3, mean=given.mean, std=given.std)
    assert classifier.normalisation == given
    assert classifier.copy().normalisation == given
    assert Classifier(tiny(), 3).normalisation == Normalisation()


def test_mean_and_std_are_on_the_networks_device():
    normalised = Normalised(tiny().to("meta"), Normalisation((0.5,), (0.25,)))
    assert {buffer.device.type for buffer in normalised.buffers()} == {"meta"}


def test_an_object_with_logits_is_replaced_by_them():
    class Wrapped(nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.layer, self.answer = tiny(), answer

        def forward(self, x):
            return self.answer(self.layer(x))

    x = torch.rand(1, 3, 2, 2)
    network = Wrapped(lambda logits: SimpleNamespace(logits=logits))
    assert torch.equal(Normalised(network)(x), network.layer(x))
    with pytest.raises(ClassifierError, match="expected a tensor of logits, or an object with a `logits` field, got t"):
        Normalised(Wrapped(lambda logits: ()))(x)


def test_a_network_of_one_channel_has_its_pictures_grey():
    def channels(network, mean=0.5, **said):
        given = {"num_classes": 3, "mean": mean, "std": 1, "preprocessing": Preprocessing(**said)}
        return Classifier.wrap(network, **given).preprocessing.channels

    def convolution(number):
        return nn.Sequential(nn.Conv2d(number, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(4, 3))

    assert channels(convolution(1)) == channels(convolution(1), crop=(5, 5)) == 1
    assert channels(convolution(1), mean=(0.5,) * 3) is channels(convolution(3)) is None
    assert channels(nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Flatten(), nn.Linear(3, 3))) is None
    assert channels(convolution(1), channels=3) == 3
    assert channels(nn.Linear(30, 3), crop=(6, 5)) == channels(nn.Linear(30, 3), resize=(6, 5)) == 1
    assert channels(nn.Linear(30, 3)) is channels(nn.Linear(30, 3), resize=5) is channels(nn.Linear(90, 3)) is None


@pytest.mark.parametrize("std", [(0.0,), (1.0, -1.0, 1.0)])
def test_std_is_above_zero(std):
    with pytest.raises(ClassifierError, match="`std`: expected values above 0"):
        Classifier.wrap(tiny(), num_classes=3, std=std)


def test_mean_has_a_value():
    with pytest.raises(ClassifierError, match="`mean`: expected one value, or one a channel, got none"):
        Classifier.wrap(tiny(), num_classes=3, mean=())


def test_one_class_is_no_classifier():
    with pytest.raises(ClassifierError, match="`num_classes`: expected at least 2, got 1"):
        Classifier(tiny(1), 1)


def test_class_names_are_one_a_class():
    with pytest.raises(ClassifierError, match="`class_names`: expected 3 names, got 2"):
        Classifier(tiny(), 3, class_names=("a", "b"))


def test_a_module_without_weights_cannot_be_edited():
    with pytest.raises(ClassifierError, match="expected a module with weights to edit, got one without parameters"):
        Classifier(nn.Flatten(), 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_damaged_weights_are_named(bad):
    network = tiny()
    network[1].bias.data[1] = bad
    with pytest.raises(ClassifierError, match=r"`1\.bias`: expected finite weights, got NaN or infinity; the checkpoi"):
        Classifier(network, 3)


def test_damaged_buffers_are_named():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 3))
    network[0].running_var[2] = float("nan")
    with pytest.raises(ClassifierError, match=r"`network\.0\.running_var`: expected finite weights"):
        Classifier.wrap(network, num_classes=3)


def test_a_copy_shares_nothing_and_keeps_every_flag(classifier):
    classifier.module.network[1].train()
    classifier.module.network[0].weight.requires_grad_(False)
    twin = classifier.copy()
    assert [m.training for m in twin.module.modules()] == [m.training for m in classifier.module.modules()]
    assert not twin.module.network[0].weight.requires_grad
    assert twin.sha256() == classifier.sha256()
    with torch.no_grad():
        twin.module.network[1].running_mean.add_(1)
        twin.module.network[8].bias.add_(1)
    assert twin.sha256() != classifier.sha256()


def test_a_frozen_copy_evaluates_and_needs_no_gradient(classifier):
    classifier.module.train()
    frozen = classifier.frozen_copy()
    assert not any(part.training for part in frozen.module.modules())
    assert not any(weight.requires_grad for weight in frozen.module.parameters())
    assert all(part.training for part in classifier.module.modules())
    assert all(weight.requires_grad for weight in classifier.module.parameters())


def test_to_the_same_device_is_the_same_classifier(classifier):
    assert classifier.to(torch.device("cpu")) is classifier


def test_the_hash_does_not_depend_on_the_normalisation(classifier):
    again = Classifier.wrap(copy.deepcopy(classifier.network), num_classes=5)
    assert again.sha256() == classifier.sha256()


def test_logits_of_a_wrong_shape():
    with pytest.raises(ClassifierError, match=r"outputs of shape \(b, 5\), got \(2, 4\); check the class count"):
        check_logits(torch.randn(2, 4), 5)
    with pytest.raises(ClassifierError, match=r"outputs of shape \(b, 5\), got \(2, 5, 1\)"):
        check_logits(torch.randn(2, 5, 1), 5)


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_logits_that_are_not_finite(bad):
    with pytest.raises(ClassifierError, match="expected finite logits, got NaN or infinity; check the weights and the"):
        check_logits(torch.tensor([[0.0, bad]]), 2)


def test_probabilities_are_not_logits():
    with pytest.raises(ClassifierError, match=r"expected logits, got probabilities.*remove the softmax"):
        check_logits(torch.randn(3, 5).softmax(dim=1), 5)


def test_logits_that_only_look_a_little_like_probabilities_pass():
    check_logits(torch.tensor([[0.5, 0.5], [3.0, 1.0]]), 2)
    check_logits(torch.tensor([[1.5, -0.5]]), 2)


def test_a_frozen_copy_shares_only_what_it_is_told_to():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Dropout(), nn.Linear(4, 3)).train()
    classifier = Classifier.wrap(network, num_classes=3)
    twin = classifier.frozen_copy([network[3]])
    assert twin.network[3] is network[3]
    assert twin.network[1] is not network[1]
    assert [part.training for part in twin.network] == [False, False, False, True]
    assert [weight.requires_grad for weight in twin.network.parameters()] == [False, False, True, True]
    assert all(part.training for part in network)
    assert all(weight.requires_grad for weight in network.parameters())


class BeforeTokens(nn.Module):
    """BatchNorm whose maps become tokens, as in LeViT."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm, self.mix = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.norm(self.convolution(x)).flatten(2).transpose(1, 2)
        return torch.tanh(self.mix(tokens) * torch.arange(tokens.shape[1]).view(1, -1, 1)).sum(dim=1)


def test_the_gradient_of_one_image_is_the_same_alone_as_in_a_batch():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = Classifier.wrap(BeforeTokens().eval(), num_classes=3)
    x = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    weights = list(classifier.module.parameters())
    alone = torch.autograd.grad(classifier(x[:1])[0, 0], weights)
    together = torch.autograd.grad(classifier(x)[0, 0], weights)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not any(part._forward_hooks for part in classifier.module.modules())


class Versioned(nn.Linear):
    """A layer that asks for its version, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *others):
        if local_metadata.get("version") != 2:
            raise ValueError("version should be set to 2")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


def test_plain_tensors_are_put_into_layers_that_ask_for_their_version():
    network = nn.Sequential(nn.Flatten(), Versioned(4, 3))
    weights = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    put_weights(network, weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(RuntimeError, match="Missing key"):
        put_weights(network, {"1.bias": weights["1.bias"]})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"mean": ".5"}, "`mean`: expected a number, or one a channel, got '.5'"),
        ({"mean": 0.5, "std": ["a", 1]}, r"`std`: expected a number, or one a channel, got \['a', 1\]"),
        ({"mean": float("nan")}, "`mean`: expected finite numbers, got nan"),
        ({"mean": 0.5, "num_classes": "3"}, "`num_classes`: expected a whole number, got '3'"),
    ],
)
def test_what_is_no_number_is_refused(said, words):
    with pytest.raises(ClassifierError, match=words):
        Classifier.wrap(tiny(), **{"num_classes": 3, **said})
