"""Images of the forget set with another one of them blended in."""

import torch

from expunge.methods.least_change.blends import MOST, blend, draw_shares


def test_most_blends_have_little_of_another_row():
    shares = draw_shares(1000, torch.Generator().manual_seed(0))
    assert bool(((shares >= 0) & (shares <= MOST)).all())
    assert abs(float(shares.mean()) - MOST / 2.5) < 0.02, "the mean of u^1.5 is 1 / 2.5"
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    blends = blend(x, torch.tensor([0.1, 0.4]), torch.Generator().manual_seed(0))
    assert [round(float(one.mean()), 4) for one in blends] == [0.1, 0.6]


def test_a_single_row_is_blended_with_itself_upside_down():
    x = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 1, 2, 2)
    blended = blend(x, torch.tensor([0.25]), torch.Generator())
    assert blended.flatten().tolist() == [0.75, 0.75, 0.25, 0.25]
