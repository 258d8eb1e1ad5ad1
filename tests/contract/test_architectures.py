"""Every method that needs only the forget set runs on every kind of network, with random weights."""

import pytest
import torch
import torch.nn.functional as F

from expunge.base.errors import ExpungeWarning
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods import OWN
from expunge.methods.protocol import Aim, Needs
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.sources import ModelSource, load_classifier
from expunge.surrogates.inverted import Inversion, invert_classifier
from expunge.task.goals import GOALS
from expunge.task.task import Limits, StopReason, Strength

pytest.importorskip("timm")
pytest.importorskip("torchvision")

SMALL = {
    "resnet18": "timm:resnet18?channels=(8,8,16,16)&layers=(1,1,1,1)",
    "resnet50": "timm:resnet50?channels=(8,8,16,16)&layers=(1,1,1,1)",
    "mobilenetv2": "torchvision:mobilenet_v2?width_mult=0.1",
    "densenet121": "timm:densenet121?growth_rate=4&block_config=(2,2,2,2)",
    "squeezenet": "torchvision:squeezenet1_1",
    "vit-b16": "timm:vit_base_patch16_224?img_size=32&embed_dim=24&depth=2&num_heads=2",
    "vit-ti16": "timm:vit_tiny_patch16_224?img_size=32&embed_dim=12&depth=1&num_heads=3",
}
"""The architectures with fewer and narrower layers; what they are made of is all there."""

ATTACK = {"targets_per_row": 2, "steps": 2}
DESCENT = {"descent": {"learning_rate": 0.01}}
TRAINING = {"training": {"epochs": 1}}
QUICK = {
    "least-change": {
        "surrogates": {"mixes": 12, "inverted": 4, "procedural": 4, "inversion": {"steps": 1}},
        "exact": {"steps": 2, "surrogate_batch": 8},
        "robust": {"steps": 2, "surrogate_batch": 8, "copies": 6},
    },
    "l2ul": {"attack": ATTACK, "adversarial_batch": 4, **DESCENT},
    "l2ul-faithful": {"attack": ATTACK, "adversarial_batch": 4, **DESCENT},
    "structguard": {
        "attack": ATTACK,
        "adversarial_batch": 4,
        "anchor_width": 6,
        "importance_images": 4,
        "learning_rate": 0.01,
    },
    "zs-pag": {"attack": ATTACK, "energy": 0.0},
    **dict.fromkeys(("negative-gradient", "relabel-only", "delete"), DESCENT),
    "boundary-shrink": {"nearest": "other", **DESCENT},
    "amun": {"search": {"steps": 2, "first_radius": 1.0}, **TRAINING},
    "ruago": {"images": 4, "inversion": {"steps": 1}, **TRAINING},
    "jit": {"perturbations": 2, **TRAINING},
    "imu": TRAINING,
    "mu-mis": {"training": {"epochs": 1, "algorithm": "adam"}},
}
OUT_OF_REACH = {("mobilenetv2", "zs-pag")}
"""Here the rows' logits differ by 1e-7 and each row is to get the other's label; no few steps tell them apart."""
NAMES = [method.name for method in OWN if method.needs is Needs.FORGET_ONLY]


@pytest.fixture(scope="module")
def networks():
    """Return the classifiers by name; each is made once, and no method changes it."""
    made = {}

    def get(name):
        if name not in made:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                with pytest.warns(ExpungeWarning, match="random weights"):
                    made[name] = load_classifier(ModelSource(SMALL[name], num_classes=4)).classifier
                if name == "squeezenet":  # it ends in a ReLU, dead for most classes of a random network
                    torch.nn.init.constant_(made[name].network.classifier[1].bias, 1.0)
        return made[name]

    return get


@pytest.fixture(scope="module")
def forget_rows():
    """Return a function from a classifier to two rows that it answers with their labels.

    They are smooth, as pictures are: noise joined with noise can't be told from a copy of either.
    """
    coarse = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x = F.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)

    def label(classifier):
        with torch.no_grad():
            return ForgetSet.numbered(x, classifier(x).argmax(dim=1))

    return label


def test_inversion_without_batchnorm_falls_back_and_says_so(networks):
    classifier = networks("vit-ti16")
    with pytest.warns(ExpungeWarning, match="no BatchNorm statistics to invert: dead leaves take the place"):
        images = invert_classifier(classifier, 3, (3, 32, 32), Inversion(steps=1), Context(Runtime()))
    assert images.shape == (3, 3, 32, 32)
    assert len({float(image.mean()) for image in images}) == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("network", SMALL)
@pytest.mark.filterwarnings("ignore:the classifier has no BatchNorm statistics:expunge.base.errors.ExpungeWarning")
def test_it_runs(networks, forget_rows, network, name):
    classifier = networks(network)
    rows, before = forget_rows(classifier), classifier.sha256()
    method = make_method(name, QUICK.get(name, {}))
    aims_at_goal = method.aim is Aim.MISCLASSIFY
    limits = Limits(steps=100 if aims_at_goal else 2)
    edit = unlearn(classifier, rows, goal=GOALS[method.goals[0]], method=method, limits=limits, strength=Strength.EXACT)
    assert classifier.sha256() == before
    assert (edit.classifier.sha256() != before) or (network, name) in OUT_OF_REACH
    if aims_at_goal and (network, name) not in OUT_OF_REACH:
        assert edit.stop_reason is StopReason.GOAL_REACHED
    else:
        assert edit.stop_reason is not StopReason.DIVERGED
    assert all(bool(torch.isfinite(tensor).all()) for tensor in edit.classifier.module.state_dict().values())


@pytest.mark.parametrize("network", SMALL)
@pytest.mark.filterwarnings("ignore:the classifier has no BatchNorm statistics:expunge.base.errors.ExpungeWarning")
def test_copies_are_forgotten_too(networks, forget_rows, network):
    classifier = networks(network)
    rows, before = forget_rows(classifier), classifier.sha256()
    method = make_method(
        "least-change", QUICK["least-change"] | {"robust": {"steps": 12, "surrogate_batch": 8, "copies": 8}}
    )
    edit = unlearn(classifier, rows, method=method, strength=Strength.ROBUST, limits=Limits(steps=20))
    assert classifier.sha256() == before
    assert edit.stop_reason is not StopReason.DIVERGED
    assert edit.measure_robust_goal().share > 0.5
