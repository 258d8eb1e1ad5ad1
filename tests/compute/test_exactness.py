import pytest
import torch

from expunge.base.errors import SettingsError
from expunge.compute.exactness import Float32, exactly
from expunge.compute.runtime import Runtime
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits
from expunge.task.task import Limits


class Spy(torch.nn.Module):
    """Notes at each pass what float32 means then, and whether there is a gradient."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, set()

    def forward(self, x):
        self.seen.add((torch.is_grad_enabled(), torch.backends.cudnn.allow_tf32))
        return self.network(x)


@pytest.mark.parametrize(("float32", "wanted"), [(Float32.TF32, True), (Float32.IEEE, False)])
def test_answers_are_ieee_and_passes_with_gradients_as_they_are_set(trained, rows, float32, wanted):
    spy = Spy(trained.copy().module)
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    runtime = Runtime(float32=float32)
    with runtime.computing():
        assert torch.get_float32_matmul_precision() == "highest"
        compute_logits(Classifier(spy, trained.num_classes), rows.x)
        assert spy.seen == {(False, False)}
        spy(rows.x)
        assert (True, wanted) in spy.seen
        with exactly():
            assert not torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before


def fail(reason):
    """Raise in a runtime that is to be deterministic."""
    with Runtime(deterministic=True).computing():
        assert torch.are_deterministic_algorithms_enabled()
        raise RuntimeError(reason)


def test_what_cannot_be_repeated_is_an_error_where_it_is_to_be():
    with pytest.raises(SettingsError, match="operations that can be repeated, got x_cuda has no deterministic"):
        fail("x_cuda has no deterministic implementation\nmore")
    with pytest.raises(RuntimeError, match="shapes"):
        fail("shapes")
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_edit_is_made_as_the_runtime_says(trained, rows, monkeypatch):
    seen = []
    whole = torch.nn.Conv2d.forward

    def watched(self, x):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return whole(self, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", watched)
    unlearn(trained, rows, method="negative-gradient", runtime=Runtime(deterministic=True), limits=Limits(steps=1))
    assert seen[-1]
