from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.base.errors import SettingsError
from expunge.models.pixels import Bounds
from expunge.task.transforms import (
    NOISE_MAXIMUM,
    TRANSFORMS,
    copy_kinds,
    draw_copies,
    find_transforms,
    noised,
    random_copies,
    resized,
    shifted,
)

SIZES = st.tuples(st.sampled_from((1, 3)), st.sampled_from((1, 3)), st.integers(3, 12), st.integers(3, 12))
BOUNDS = st.sampled_from((Bounds(), Bounds(0, 255), Bounds(-1.5, 2)))


def draw(shape, bounds=Bounds(), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return bounds.lower + bounds.width * torch.rand(shape, generator=generator), generator


@settings(max_examples=30)
@given(shape=SIZES, bounds=BOUNDS, seed=st.integers(0, 99))
def test_copies_keep_shape_type_and_bounds_and_leave_the_original(shape, bounds, seed):
    x, generator = draw(shape, bounds, seed)
    before = x.clone()
    for _, copy in random_copies(x, 15, bounds, generator):
        assert copy.shape == x.shape
        assert copy.dtype == x.dtype
        assert bounds.lower <= float(copy.min())
        assert float(copy.max()) <= bounds.upper
    assert torch.equal(x, before)


def test_each_kind_is_used_before_any_is_used_again():
    x, generator = draw((1, 3, 8, 6))
    kinds = [kind for kind, _ in random_copies(x, 30, Bounds(), generator)]
    assert set(kinds[:15]) == set(copy_kinds(3)) == set(kinds[15:])
    assert kinds[:15] != kinds[15:]


def test_jpeg_is_left_out_where_it_cannot_hold_the_channels():
    assert len(copy_kinds(3)) == len(copy_kinds(1)) == 15
    assert len(copy_kinds(4)) == 10
    x, generator = draw((3, 4, 8, 6))
    assert all("recompressed" not in kind for kind, _ in random_copies(x, 10, Bounds(), generator))


def test_the_same_generator_gives_the_same_copies():
    x, _ = draw((3, 3, 8, 6))
    once, again, other = (list(random_copies(x, 8, Bounds(), torch.Generator().manual_seed(n))) for n in (1, 1, 2))
    assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in zip(once, again, strict=True))
    assert not all(a[0] == b[0] for a, b in zip(once, other, strict=True))


def test_mirrored_exchanges_left_and_right():
    x, generator = draw((3, 3, 8, 6))
    mirrored = TRANSFORMS["mirrored"](x, Bounds(), generator)
    assert torch.equal(mirrored[..., 0], x[..., -1])
    assert torch.equal(TRANSFORMS["mirrored"](mirrored, Bounds(), generator), x)


def test_shifted_moves_every_image_by_its_own_offset_and_never_by_none():
    """On a picture of distinct pixels the offset can be read off its middle."""
    height, width = 32, 48
    x = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width).expand(400, 1, height, width)
    moved = shifted(x, Bounds(0, height * width), torch.Generator().manual_seed(0))
    change = (moved - x)[:, 0, 16, 24].long()
    offsets = Counter((int(c + 3 * width + 24) // width - 3, int(c + 3 * width + 24) % width - 24) for c in change)
    assert set(offsets) == {(dy, dx) for dy in range(-2, 3) for dx in range(-3, 4)} - {(0, 0)}


@pytest.mark.parametrize("shape", [(1, 3, 8, 6), (3, 1, 8, 6)])
@pytest.mark.parametrize("kind", ["resized", "recompressed", "noised", "shifted"])
def test_every_transform_changes_every_image_a_little(kind, shape):
    x, generator = draw(shape)
    copy = TRANSFORMS[kind](x, Bounds(), generator)
    difference = (copy - x).abs().flatten(1).mean(dim=1)
    assert bool((difference > 0).all())


def test_a_flat_image_stays_flat_when_resized_or_recompressed():
    x = torch.full((3, 3, 8, 6), 100 / 255)
    assert torch.allclose(resized(x, Bounds(), torch.Generator()), x, atol=1e-5)
    assert torch.allclose(TRANSFORMS["recompressed"](x, Bounds(), torch.Generator()), x, atol=2 / 255)


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(0, 255)])
def test_noise_is_in_proportion_to_the_bounds(bounds):
    x = torch.full((200, 3, 16, 16), bounds.lower + bounds.width / 2)
    deviation = (noised(x, bounds, torch.Generator().manual_seed(0)) - x).flatten(1).std(dim=1) / bounds.width
    assert float(deviation.max()) < NOISE_MAXIMUM * 1.1
    assert float(deviation.max()) > NOISE_MAXIMUM * 0.9
    assert abs(float(deviation.mean()) - NOISE_MAXIMUM / 2) < NOISE_MAXIMUM * 0.1


def test_a_transform_of_the_users_own_takes_part(tmp_path, monkeypatch):
    (tmp_path / "ours.py").write_text("def darker(x, bounds, generator):\n    return x * 0.5 - 0.1\n")
    monkeypatch.chdir(tmp_path)
    transforms = find_transforms(["noised", "ours:darker"])
    x, generator = torch.rand(3, 3, 8, 6), torch.Generator().manual_seed(0)
    copies = dict(random_copies(x, 3, Bounds(), generator, transforms))
    assert set(copies) == {("noised",), ("ours:darker",), ("noised", "ours:darker")}
    assert torch.equal(copies["ours:darker",], (x * 0.5 - 0.1).clamp(0, 1))
    drawn = draw_copies(x, Bounds(), torch.Generator().manual_seed(0), find_transforms(["ours:darker"]))
    assert torch.equal(drawn, copies["ours:darker",])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return x[:, :, :4]", r"`ours\d:change`: expected finite pixels of shape \(2, 3, 8, 6\) .*, got shape"),
        ("return x / 0 * 0", r"expected finite pixels .*, got shape \(2, 3, 8, 6\)"),
        ("return None", r"expected finite pixels .*, got NoneType"),
    ],
)
def test_a_transform_that_breaks_images_is_refused(tmp_path, monkeypatch, body, words, request):
    name = f"ours{len(body)}"
    (tmp_path / f"{name}.py").write_text(f"def change(x, bounds, generator):\n    {body}\n")
    monkeypatch.chdir(tmp_path)
    transforms = find_transforms([f"{name}:change"])
    with pytest.raises(SettingsError, match=words.replace(r"ours\d", name)):
        draw_copies(torch.rand(2, 3, 8, 6), Bounds(), torch.Generator(), transforms)


def test_unknown_transforms_are_refused():
    with pytest.raises(SettingsError, match=r"`blurred`: expected .*, or one of mirrored, .*, got"):
        find_transforms(["blurred"])
    with pytest.raises(SettingsError, match=r"`no_such_module:f`: expected a module that can be imported"):
        find_transforms(["no_such_module:f"])
    with pytest.raises(SettingsError, match="`transforms`: expected different names, at least one, got noised, noised"):
        find_transforms(["noised", "noised"])
    with pytest.raises(SettingsError, match="got none"):
        find_transforms([])
