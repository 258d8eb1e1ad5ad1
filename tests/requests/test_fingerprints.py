import pytest
import torch

from expunge.models.pixels import Bounds
from expunge.requests.fingerprints import NEAR, fingerprint, near_pairs
from expunge.surrogates.procedural import draw_leaves
from expunge.task.transforms import noised, recompressed


@pytest.fixture(scope="module")
def pictures():
    return draw_leaves(40, (3, 32, 24), Bounds(), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("transform", [noised, recompressed])
def test_most_stored_again_copies_are_near_and_other_pictures_are_not(pictures, transform):
    copies = transform(pictures, Bounds(), torch.Generator().manual_seed(1))
    pairs = near_pairs(fingerprint(pictures), fingerprint(copies))
    assert sum(first == second for first, second, _ in pairs) >= 0.9 * len(pictures)
    assert all(first == second for first, second, _ in pairs)
    assert all(bits <= NEAR for *_, bits in pairs)


def test_size_and_brightness_do_not_matter(pictures):
    large = torch.nn.functional.interpolate(pictures, scale_factor=2, mode="bilinear")
    pairs = near_pairs(fingerprint(pictures), fingerprint(large * 0.9 + 0.05))
    assert sum(first == second for first, second, _ in pairs) >= 0.9 * len(pictures)


def test_plain_pictures_resemble_nothing():
    plain = fingerprint(torch.full((3, 1, 8, 6), 0.5))
    assert near_pairs(plain, plain) == []
