"""The nearest training images: copies that were moved, resized, mirrored or noised, and an index that is made once."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.requests.copies import find_near, open_index
from expunge.requests.images import find_places, hash_images
from expunge.requests.outlines import VARIANTS, correlate, outline
from expunge.requests.purge import purge_fingerprints
from expunge.requests.recovery import writing
from expunge.requests.sheet import write_sheet
from expunge.requests.weights import load_first


def draw_scenes(count, seed, side=32):
    """Return smooth pictures that differ."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 7, 7, generator=generator)
    return F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False).clamp(0, 1)


def shrunk(x):
    """Return pictures at three quarters of their size on a black ground."""
    small = F.interpolate(x, (24, 24), mode="bilinear", antialias=True, align_corners=False)
    return F.pad(small, (4, 4, 4, 4))


COPIES = {
    "as it is": lambda x: x,
    "shifted": lambda x: torch.roll(x, (3, -4), (2, 3)),
    "mirrored": lambda x: x.flip(-1),
    "shrunk": shrunk,
    "enlarged": lambda x: F.interpolate(x, (40, 40), mode="bilinear", align_corners=False)[..., 4:36, 4:36],
    "noised": lambda x: (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1),
    "darker": lambda x: 0.6 * x,
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_correlates_best_with_its_picture(kind):
    pictures = draw_scenes(60, seed=0)
    values, rows = correlate(COPIES[kind](pictures[:20]), outline(pictures), 3)
    assert (rows[:, 0] == torch.arange(20)).all()
    assert (values[:, 0] > 0.85).all()
    assert values.max() <= 1 + 1e-5


def test_even_pictures_correlate_with_nothing():
    plain = torch.full((2, 3, 32, 32), 0.5)
    values, _ = correlate(plain, outline(torch.cat([plain, draw_scenes(3, seed=0)])), 5)
    assert values.abs().max() < 0.2


def test_correlation_of_the_unchanged_picture_is_that_of_numpy():
    pictures, [plain] = draw_scenes(4, seed=0), [one for one in VARIANTS if one == (False, 1.0, 0.0, 0.0)]
    outlines = outline(pictures).numpy().astype(float)
    expected = np.corrcoef(outlines)
    from expunge.requests import outlines as module  # noqa: PLC0415

    found = module._best([module._change(module._fine(pictures), plain)], torch.from_numpy(outlines).float())
    assert np.abs(found.numpy() - expected).max() < 0.01


@pytest.fixture
def training(rows_of):
    rows = rows_of(20, seed=3)
    return TensorImages([f"t{row}" for row in range(20)], rows.y, rows.x)


def test_the_nearest_come_with_figures_and_the_same_picture_first(project, training):
    copies = torch.cat([training.pixels[4:5], training.pixels[7:8].flip(-1)])
    rows = ForgetSet(("same", "mirrored"), copies, training.labels[[4, 7]])
    with writing(project) as ledger:
        index = open_index(ledger, training, Runtime())
        found = find_near(index, ledger, rows, load_first(ledger).classifier, Runtime(), count=3)
    assert [len(near) for near in found] == [3, 3]
    assert found[0][0].id == "t4"
    assert found[0][0].same
    assert found[0][0].features == pytest.approx(1, abs=1e-4)
    assert (found[1][0].id, found[1][0].bits, found[1][0].same) == ("t7", 0, False)
    assert found[1][0].certain
    assert not any(one.same for one in found[0][1:])


class Counting:
    """Images that count how often their ids are asked for: some make the list anew each time."""

    def __init__(self, images):
        self.images, self.asked = images, 0

    @property
    def ids(self):
        self.asked += 1
        return self.images.ids

    @property
    def labels(self):
        return self.images.labels

    def load(self, rows):
        return self.images.load(rows)


def test_how_often_ids_are_asked_for_does_not_grow_with_the_images(project, training, monkeypatch):
    monkeypatch.setattr("expunge.requests.copies.BATCH", 3)
    monkeypatch.setattr("expunge.requests.images.BATCH", 3)
    counting = Counting(training)
    rows = ForgetSet(training.ids, training.pixels, training.labels)
    with writing(project) as ledger:
        index = open_index(ledger, counting, Runtime())
        assert counting.asked == 2, "for the index's name, and for its rows"
        find_near(index, ledger, rows, load_first(ledger).classifier, Runtime())
        assert counting.asked == 3
        find_places(ledger, counting, set(hash_images(ledger, rows)))
        assert counting.asked == 4


def test_a_picture_that_is_there_many_times_is_found_each_time(project, rows_of):
    rows = rows_of(3, seed=3)
    again = torch.cat([rows.x, rows.x[:1].expand(30, -1, -1, -1)])
    many = TensorImages([f"t{row}" for row in range(33)], torch.zeros(33, dtype=torch.int64), again)
    with writing(project) as ledger:
        [found] = find_near(
            open_index(ledger, many, Runtime()), ledger, rows.rows([0]), load_first(ledger).classifier, Runtime()
        )
    assert {one.row for one in found if one.same} == {0, *range(3, 33)}


def test_the_index_is_made_once_sealed_and_anew_when_a_picture_changes(project, training, monkeypatch):
    with writing(project) as ledger:
        first = open_index(ledger, training, Runtime())
        [file] = (project / "index").iterdir()
        assert training.pixels[0].numpy().tobytes()[:60] not in file.read_bytes()
        monkeypatch.setattr("expunge.requests.copies._make", None)
        again = open_index(ledger, training, Runtime())
        assert (again.contents == first.contents).all()
        assert torch.equal(again.outlines, first.outlines)
        changed = TensorImages(training.ids, training.labels, 1 - training.pixels)
        with pytest.raises(TypeError):
            open_index(ledger, changed, Runtime())
        purge_fingerprints(ledger, [])
        assert not list((project / "index").iterdir())


def test_a_sheet_shows_each_picture_beside_the_nearest(project, training, tmp_path):
    rows = ForgetSet(("a", "b"), training.pixels[:2], training.labels[:2])
    with writing(project) as ledger:
        index = open_index(ledger, training, Runtime())
        found = find_near(index, ledger, rows, load_first(ledger).classifier, Runtime())
    write_sheet(tmp_path / "sheet.png", rows, training, found)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (6 * 104 + 8, 2 * 132 + 8)
