import pytest
from torch import nn

from expunge.base.errors import ExpungeError, OutputError
from expunge.models import export
from expunge.models.classifier import Classifier
from expunge.models.description import Description
from expunge.models.export import FORMATS, export_classifier

SHAPE = (3, 8, 6)


def test_every_format_gives_the_classifiers_outputs(trained, tmp_path):
    pytest.importorskip("onnxruntime")
    before = trained.sha256()
    exported = export_classifier(trained, Description(SHAPE), tmp_path, list(FORMATS))
    assert [one.path.name for one in exported] == ["model.safetensors", "model.pt2", "model.onnx", "classifier.json"]
    assert exported[0].largest_difference is None
    assert max(one.largest_difference for one in exported[1:3]) < 1e-4
    assert trained.sha256() == before


def test_an_unknown_format_is_named(trained, tmp_path):
    with pytest.raises(ExpungeError, match="expected one of safetensors, torch-export, onnx, hub, got tflite"):
        export_classifier(trained, Description(SHAPE), tmp_path, ["tflite"])
    assert list(tmp_path.iterdir()) == []


def test_other_outputs_are_refused(trained, tmp_path):
    for wrong in (lambda x: trained(x) + 0.5, lambda x: trained(x)[:, :3]):
        with pytest.raises(OutputError, match=r"expected (the classifier's outputs|outputs of shape)"):
            export._compare(trained, SHAPE, tmp_path / "model", wrong)


def test_a_network_that_cannot_be_traced_is_named(tmp_path):
    class Choosy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(144, 3)

        def forward(self, x):
            return self.linear(x.flatten(1)) if x.sum().item() > 0 else self.linear(x.flatten(1)) * 2

    with pytest.raises(OutputError, match=r"a network that torch\.export can trace"):
        export_classifier(Classifier(Choosy().eval(), 3), Description(SHAPE), tmp_path, ["torch-export"])
