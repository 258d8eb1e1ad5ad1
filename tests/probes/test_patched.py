import torch

from expunge.classifier import Bounds
from expunge.probes.patched import draw_patched


def draw(rows, count=200, seed=0):
    return draw_patched(rows, count, Bounds(), torch.Generator().manual_seed(seed))


def test_the_same_seed_gives_the_same_images():
    rows = torch.rand(4, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draw(rows), draw(rows))
    assert not torch.equal(draw(rows), draw(rows, seed=1))


def test_every_pixel_is_one_of_the_rows_so_nothing_is_blurred():
    rows = torch.arange(2 * 3 * 8 * 8).view(2, 3, 8, 8) / 384
    assert set(draw(rows).flatten().tolist()) <= set(rows.flatten().tolist())


def test_each_image_holds_two_rows_and_is_far_from_either():
    rows = torch.zeros(2, 3, 32, 32)
    rows[1] = 1.0
    shares = draw(rows).mean(dim=(1, 2, 3))
    mixed = shares[(shares > 0) & (shares < 1)]
    assert 0.4 < len(mixed) / len(shares) < 0.6
    patch = torch.minimum(mixed, 1 - mixed)
    assert float(patch.min()) >= (12 / 32) ** 2 - 1e-6
    assert float(patch.max()) <= 0.5


def test_rows_of_one_channel_and_of_other_shapes():
    rows = torch.rand(3, 1, 9, 5, generator=torch.Generator().manual_seed(1))
    assert draw(rows, 7).shape == (7, 1, 9, 5)
    assert draw(rows, 0).shape == (0, 1, 9, 5)


def test_the_rows_are_left_as_they_are():
    rows = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    before = rows.clone()
    draw(rows)
    assert torch.equal(rows, before)
