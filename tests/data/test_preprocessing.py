import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from expunge.base.errors import SettingsError
from expunge.data.preprocessing import AS_IS, Interpolation, Preprocessing, pixels_of


def test_default_changes_nothing(picture):
    image = picture(12, 8)
    assert AS_IS.apply(image) is image


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
@pytest.mark.parametrize(("width", "height"), [(45, 31), (31, 45), (33, 33)])
def test_agrees_with_torchvision(picture, width, height, interpolation):
    transforms = pytest.importorskip("torchvision.transforms")
    image = picture(width, height)
    theirs = transforms.Compose(
        [transforms.Resize(20, transforms.InterpolationMode(interpolation)), transforms.CenterCrop((17, 14))]
    )
    ours = Preprocessing(20, (17, 14), Interpolation(interpolation))
    assert np.array_equal(np.asarray(theirs(image)), np.asarray(ours.apply(image)))


@given(st.integers(4, 60), st.integers(4, 60), st.integers(4, 30))
def test_shorter_side_is_exact(width, height, side):
    resized = Preprocessing(side).apply(Image.new("L", (width, height)))
    assert min(resized.size) == side
    assert (resized.width <= resized.height) == (width <= height) or resized.width == resized.height


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_channels_are_those_asked_for(picture, channels, mode):
    preprocessing = Preprocessing(4, channels=channels)
    for kind in ("L", "RGB", "CMYK"):
        expected = picture(12, 8, kind).convert(mode).resize((6, 4), Image.Resampling.BILINEAR)
        assert np.array_equal(np.asarray(preprocessing.apply(picture(12, 8, kind))), np.asarray(expected))
    with pytest.raises(SettingsError, match="`channels`: expected 1 or 3, got 2"):
        Preprocessing(channels=2)


def test_pair_is_height_and_width(picture):
    assert Preprocessing((6, 9)).apply(picture(30, 10)).size == (9, 6)


def test_pixels_are_channels_first_in_0_to_1(picture):
    pixels = pixels_of(picture(12, 8))
    assert pixels.shape == (3, 8, 12)
    assert pixels.dtype == torch.float32
    assert pixels[0, 0, 0] == 0
    assert pixels[0, 0, -1] == 1
    assert pixels[1, -1, 0] == 1


@pytest.mark.parametrize("settings", [{"resize": 0}, {"crop": (0, 3)}, {"resize": (3, -1)}])
def test_sizes_below_one_are_refused(settings):
    with pytest.raises(SettingsError, match="expected sizes of at least 1 pixel"):
        Preprocessing(**settings)


def test_crop_beyond_the_resized_image_is_refused():
    with pytest.raises(SettingsError, match="`crop`: expected at most the resized 20x20, got 21x20"):
        Preprocessing(20, (21, 20))


def test_crop_beyond_the_image_is_refused(picture):
    with pytest.raises(SettingsError, match="`crop`: expected at most the image's 8x12, got 9x9"):
        Preprocessing(crop=(9, 9)).apply(picture(12, 8))


def test_every_byte_becomes_what_torch_makes_of_it():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert torch.equal(pixels_of(Image.fromarray(every))[0], torch.from_numpy(every).float() / 255)
