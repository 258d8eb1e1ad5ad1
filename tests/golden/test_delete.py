"""DELETE against its authors' code: three steps on rows that are mirrored and cropped, with f0 on the same pixels."""

import pytest
import torch.nn.functional as F
from golden_net import assert_same_change, make_classifier, make_forget_set, read_golden

from expunge.methods.published import delete
from expunge.methods.unlearn import make_method, unlearn
from expunge.task.task import Limits
from expunge.training import Augmentation

GOLDEN = read_golden("delete")


@pytest.fixture
def _same_moves(monkeypatch):
    """Move all rows of a step as the authors' loader moved them: mirrored or not, then cropped out of black padding."""
    moves = iter(GOLDEN["draws"]["moves"])

    def move(x, augmentation, bounds, _):
        mirrored, top, left = next(moves)
        if augmentation is not Augmentation.FLIPS_AND_CROPS:
            return x
        padded = F.pad(x.flip(-1) if mirrored else x, (1, 1, 1, 1), value=bounds.lower)
        return padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]

    monkeypatch.setattr(delete, "augment", move)


@pytest.mark.usefixtures("_same_moves")
def test_three_steps_are_the_authors():
    method = make_method("delete", GOLDEN["settings"])
    edit = unlearn(make_classifier(), make_forget_set(), method=method, limits=Limits(steps=GOLDEN["steps"]))
    assert edit.steps == GOLDEN["steps"]
    assert_same_change(edit.classifier, GOLDEN)
