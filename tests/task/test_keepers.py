"""What is kept in place of an image must answer as the image does, to a level."""

import torch

from expunge.models.tails import cut_at, enter
from expunge.task.keepers import from_levels, make_keeper, to_levels
from expunge.task.transforms import find_transforms


def test_levels_are_off_by_half_a_level_at_most():
    x = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    levels, scale = to_levels(x)

    assert levels.dtype == torch.uint8
    assert ((from_levels(levels, scale) - x).abs().flatten(1).amax(dim=1) <= 0.51 * scale[:, 1]).all()


def test_a_constant_row_comes_back_as_it_was():
    assert torch.equal(from_levels(*to_levels(torch.full((1, 4), 2.0))), torch.full((1, 4), 2.0))


def test_a_keeper_answers_like_its_images(trained, rows):
    keeper = make_keeper(trained, "network.2", rows, torch.Generator().manual_seed(0), copies=4)
    part = cut_at(trained, "network.2", rows.x)

    assert keeper.rows.ids == rows.ids
    assert torch.equal(keeper.rows.y, rows.y)
    assert torch.allclose(part(keeper.rows.x), trained(rows.x), atol=0.05)
    assert keeper.copies.shape == (6, 4, *enter(trained, "network.2", rows.x).shape[1:])
    assert not torch.equal(keeper.copies[:, 0], keeper.copies[:, 1])


def test_copies_of_a_keeper_are_made_by_the_transforms_that_are_named(trained, rows):
    only = find_transforms(["mirrored"])
    keeper = make_keeper(trained, "network.2", rows, torch.Generator().manual_seed(0), copies=2, transforms=only)
    mirrored = enter(trained, "network.2", rows.x.flip(-1))

    for number in range(2):
        assert torch.equal(keeper.copies[:, number], from_levels(*to_levels(mirrored)))
