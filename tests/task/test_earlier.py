"""What later edits are given of earlier rows: no copy that is checked, and none twice."""

import pytest
import torch

from expunge.data.forget import ForgetSet
from expunge.task.earlier import CHECKED_EVERY, SHIFTED, Earlier
from expunge.task.transforms import find_transforms


@pytest.fixture
def kept(trained, rows):
    """Return two rows of which copies are kept: checked ones are -1 everywhere, the others 0 to 1."""
    copies = torch.rand(2, 8, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    copies[:, ::CHECKED_EVERY] = -1.0
    return Earlier(trained, ForgetSet(("a", "b"), torch.zeros(2, 4, 5, 3), rows.y[:2]), "network.2", copies)


def test_copies_for_edits_are_made_of_those_that_are_not_checked(kept):
    chosen = torch.arange(300) % 2
    drawn = kept.draw_copies(chosen, torch.Generator().manual_seed(1))

    assert drawn.shape == (300, 4, 5, 3)
    assert float(drawn.min()) >= 0, "no checked one among them"
    assert float(drawn.max()) <= 1
    assert len(drawn.unique(dim=0)) > 200


def test_a_row_gets_copies_of_its_own(kept):
    kept.copies[1, 1::2] = 0.25
    kept.copies[1, 2::4] = 0.25
    drawn = kept.draw_copies(torch.tensor([1] * 40), torch.Generator().manual_seed(1))

    assert torch.equal(drawn, torch.full_like(drawn, 0.25))


def test_most_copies_are_shifted(kept):
    """The left column of every kept copy is 0 here, and only a shift to the right keeps it so: edges are repeated."""
    kept.copies[..., 0] = 0.0
    drawn = kept.draw_copies(torch.zeros(400, dtype=torch.long), torch.Generator().manual_seed(1))
    to_the_left = (drawn[..., 0].flatten(1) != 0).any(dim=1).float().mean()

    assert float(to_the_left) == pytest.approx(SHIFTED * 3 / 8, abs=0.08)


def test_checked_copies_are_drawn_as_they_are(kept):
    drawn = kept.draw_copies(torch.tensor([0, 1, 1]), torch.Generator().manual_seed(1), checked=True)

    assert torch.equal(drawn, torch.full_like(drawn, -1.0))


def test_tokens_are_not_shifted(trained, rows):
    copies = torch.rand(1, 8, 6, 4, 1)
    copies[:, 1:] = copies[:, 1:2]
    earlier = Earlier(trained, ForgetSet(("a",), torch.zeros(1, 6, 4, 1), rows.y[:1]), "network.2", copies)
    drawn = earlier.draw_copies(torch.zeros(20, dtype=torch.long), torch.Generator().manual_seed(1))

    assert torch.allclose(drawn, copies[:, 1].expand_as(drawn))


def test_copies_of_images_are_made_by_the_transforms_that_are_named(trained, rows):
    chosen, only = torch.tensor([0, 2, 2]), find_transforms(["mirrored"])
    drawn = Earlier(trained, rows).draw_copies(chosen, torch.Generator().manual_seed(1), transforms=only)

    assert torch.equal(drawn, rows.x[chosen].flip(-1))
