import torch
import torch.nn.functional as F

from expunge.models.pixels import Bounds
from expunge.surrogates.spliced import draw_spliced


def draw(rows, count=200, seed=0, bounds=None):
    return draw_spliced(rows, count, bounds or Bounds(), torch.Generator().manual_seed(seed))


def test_the_same_seed_gives_the_same_images():
    rows = torch.rand(4, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draw(rows), draw(rows))
    assert not torch.equal(draw(rows), draw(rows, seed=1))


def test_every_image_stays_within_bounds():
    bounds = Bounds(-1.0, 2.0)
    rows = 3 * torch.rand(4, 3, 8, 6, generator=torch.Generator().manual_seed(1)) - 1
    images = draw(rows, bounds=bounds)
    assert float(images.min()) >= -1
    assert float(images.max()) <= 2


def test_each_image_holds_much_of_two_rows_and_passes_softly_from_one_to_the_other(monkeypatch):
    monkeypatch.setattr("expunge.surrogates.spliced.TINTED", 0.0)
    rows = torch.zeros(2, 1, 32, 32)
    rows[1] = 1.0
    images = draw(rows, 400)
    mixed = images[images.flatten(1).std(dim=1) > 0.1]
    assert len(mixed) == len(images)
    shares = mixed.mean(dim=(1, 2, 3))
    assert float(torch.minimum(shares, 1 - shares).min()) > 0.25
    steps = torch.maximum(mixed.diff(dim=-1).abs().amax(dim=(1, 2, 3)), mixed.diff(dim=-2).abs().amax(dim=(1, 2, 3)))
    assert float(steps.max()) < 0.6


def test_half_of_the_images_take_the_colours_of_another():
    rows = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    rows[0] *= 0.2
    pale, bright = rows.std(dim=(1, 2, 3)).tolist()
    deviations = draw(rows[:1], 300).std(dim=(1, 2, 3))
    assert abs(float(deviations.mean()) / pale - 1) < 0.1
    mixed = draw(rows, 300)
    assert len(mixed.std(dim=(1, 2, 3)).unique()) > 100
    assert pale < float(mixed.std(dim=(1, 2, 3)).mean()) < bright


def test_a_single_row_is_joined_with_itself_upside_down_so_that_no_surrogate_is_a_copy_of_it(monkeypatch):
    monkeypatch.setattr("expunge.surrogates.spliced.TINTED", 0.0)
    coarse = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    row = F.interpolate(coarse, size=(32, 32), mode="bilinear")
    images = draw(row)
    distances = torch.stack([(images - copy).square().mean(dim=(1, 2, 3)) for copy in (row, row.flip(-1))])
    assert float(distances.min()) > 0.2 * float(row.var())


def test_rows_of_one_channel_and_of_other_shapes():
    rows = torch.rand(3, 1, 9, 5, generator=torch.Generator().manual_seed(1))
    assert draw(rows, 7).shape == (7, 1, 9, 5)
    assert draw(rows, 0).shape == (0, 1, 9, 5)


def test_rows_of_a_single_colour_are_tinted_without_dividing_by_zero():
    assert bool(draw(torch.full((3, 3, 8, 8), 0.5)).isfinite().all())


def test_the_rows_are_left_as_they_are():
    rows = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    before = rows.clone()
    draw(rows)
    assert torch.equal(rows, before)
