"""Bad teacher against its authors' code: three steps of Adam on rows and retain data in one batch."""

import pytest
import torch
from golden_net import assert_same_change, make_classifier, make_forget_set, make_retain, read_golden, spread

from expunge.methods.published import bad_teacher
from expunge.methods.unlearn import make_method, unlearn


@pytest.fixture
def _same_bad_teacher(monkeypatch):
    """Give the untrained network the weights that the authors' code was given."""

    def give(classifier, _):
        with torch.no_grad():
            for offset, (name, tensor) in enumerate(classifier.network.state_dict().items()):
                if name in ("conv1.weight", "conv2.weight", "linear.weight"):
                    tensor.copy_(spread(tensor.numel(), 500 + offset).view(tensor.shape) - 0.5)

    monkeypatch.setattr(bad_teacher, "reinitialise", give)


@pytest.mark.usefixtures("_same_bad_teacher")
def test_three_steps_are_the_authors():
    golden = read_golden("bad_teacher")
    edit = unlearn(
        make_classifier(),
        make_forget_set(),
        method=make_method("bad-teacher", golden["settings"]),
        retain=make_retain(),
    )
    assert_same_change(edit.classifier, golden)
