"""StructGuard against its authors' code: two passes, importance measured in between, the projector as they train it."""

import pytest
import torch
from golden_net import CLASSES, assert_same_change, make_classifier, make_forget_set, make_pixels, read_golden
from safetensors.torch import save_file

from expunge.methods.published import structguard
from expunge.methods.published.projector import Projector, drop_projector
from expunge.methods.published.structguard import Projection, StructGuard
from expunge.methods.unlearn import unlearn
from expunge.surrogates.adversarial import AdversarialPool
from expunge.surrogates.attack import Attack
from expunge.task.task import Limits

TARGETS = 5


def make_pool(*_):
    """Return forty images in the place of adversarial examples: what is compared begins with them."""
    targets = (torch.arange(8 * TARGETS) * 7 // 3) % CLASSES
    return AdversarialPool(make_pixels(8 * TARGETS, 300), targets, torch.zeros(8 * TARGETS, CLASSES))


def make_projector(weights):
    projector = Projector(8, len(weights["first.bias"]), channels_first=False, generator=torch.Generator())
    with torch.no_grad():
        for name, values in weights.items():
            tensor = projector.get_parameter(name)
            tensor.copy_(torch.tensor(values).view(tensor.shape))
    return projector


@pytest.mark.parametrize("name", ["structguard", "structguard_mixed"])
def test_two_passes_are_the_authors(name, tmp_path, monkeypatch):
    golden = read_golden(name)
    draws, settings = golden["draws"], golden["settings"]
    projector = make_projector(draws["projector"])
    monkeypatch.setattr(structguard, "make_adversarial_pool", make_pool)
    monkeypatch.setattr(structguard, "Projector", lambda *_, **__: projector)
    monkeypatch.setattr(structguard, "draw_mix", lambda width, *_: torch.tensor(draws["mix"]).view(width, -1))
    save_file({"anchors": torch.tensor(draws["anchors"]).view(CLASSES, -1)}, tmp_path / "anchors.safetensors")
    method = StructGuard(
        projector=Projection.KEPT,
        anchors=str(tmp_path / "anchors.safetensors"),
        attack=Attack(targets_per_row=TARGETS),
        adversarial_batch=settings["adversarial_batch"],
        forget_batch=settings["forget_batch"],
        importance_images=settings["importance_images"],
    )
    edit = unlearn(make_classifier(), make_forget_set(), method=method, limits=Limits(steps=golden["steps"]))
    assert edit.steps == golden["steps"]
    assert_same_change(drop_projector(edit.classifier), golden)
    for part, values in golden["projector"].items():
        tensor = edit.classifier.network.linear.projector.state_dict()[part]
        torch.testing.assert_close(tensor, torch.tensor(values).view(tensor.shape), rtol=1e-4, atol=1e-5)
