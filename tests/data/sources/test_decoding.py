import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from expunge.base.errors import DataError
from expunge.data.sources.decoding import Encoded, decode

SIZE = (12, 8)


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("mode", "name", "words"),
    [
        ("L", "a.png", "greyscale"),
        ("L", "a.jpg", "greyscale"),
        ("1", "a.png", "black-and-white"),
        ("P", "a.gif", "palette"),
        ("P", "a.png", "palette"),
        ("LA", "a.png", "greyscale"),
        ("RGBA", "a.png", "RGBA"),
        ("CMYK", "a.jpg", "CMYK"),
    ],
)
def test_other_modes_become_rgb_and_say_so(tmp_path, mode, name, words):
    noise(*SIZE).convert(mode).save(tmp_path / name)
    decoded = decode(tmp_path / name)
    assert decoded.image.mode == "RGB"
    assert decoded.image.size == SIZE
    assert decoded.changes == (f"converted from {words} to RGB",)


@pytest.mark.parametrize(
    ("mode", "said"), [("RGB", "converted from RGB to"), ("P", "converted from palette to"), ("L", None), ("LA", None)]
)
def test_grey_is_pillows_of_the_upright_colours(tmp_path, mode, said):
    noise(*SIZE).convert(mode).save(tmp_path / "a.png")
    decoded = decode(tmp_path / "a.png", "L")
    assert decoded.image == decode(tmp_path / "a.png").image.convert("L")
    assert decoded.changes == (() if said is None else (f"{said} greyscale",))


def test_rgb_is_left_as_it_is(tmp_path):
    noise(*SIZE).save(tmp_path / "a.png")
    decoded = decode(tmp_path / "a.png")
    assert decoded.changes == ()
    assert np.array_equal(np.asarray(decoded.image), np.asarray(noise(*SIZE)))


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    shades = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(shades).save(tmp_path / "deep.png")
    decoded = decode(tmp_path / "deep.png")
    assert np.asarray(decoded.image)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparent_palette_makes_no_warning(tmp_path):
    image = noise(*SIZE).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes([0, 128, 255]))
    assert decode(tmp_path / "a.png").image.mode == "RGB"


@pytest.mark.parametrize(("orientation", "corner"), [(3, (11, 7)), (6, (7, 0)), (8, (0, 11))])
def test_exif_orientation_is_applied(tmp_path, orientation, corner):
    image = Image.new("RGB", SIZE)
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    decoded = decode(tmp_path / "a.png")
    assert decoded.image.getpixel(corner) == (255, 255, 255)
    assert decoded.changes == ("turned upright as its EXIF data say",)


def test_truncated_file_is_named(tmp_path):
    path = tmp_path / "cut.jpg"
    noise(64, 48).save(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"cut\.jpg`: expected a whole image, got .*truncated"):
        decode(path)


def test_truncated_png_is_named(tmp_path):
    path = tmp_path / "cut.png"
    noise(64, 48).save(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"cut\.png`: expected a whole image"):
        decode(path)


def test_png_with_a_flipped_byte_is_named(tmp_path):
    path = tmp_path / "bad.png"
    noise(64, 48).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"bad\.png`: expected a whole image"):
        decode(path)


@pytest.mark.parametrize("content", [b"", b"not an image at all", b"\x89PNG\r\n\x1a\n"])
def test_something_else_is_named(tmp_path, content):
    (tmp_path / "text.png").write_bytes(content)
    with pytest.raises(DataError, match=r"text\.png`: expected an image \(JPEG"):
        decode(tmp_path / "text.png")


def test_an_empty_file_is_called_so(tmp_path):
    (tmp_path / "none.png").touch()
    for given in (tmp_path / "none.png", Encoded("none.png", b"")):
        with pytest.raises(DataError, match=r"none\.png`: expected an image .*, got an empty file; fetch it anew"):
            decode(given)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png"):
        decode(tmp_path / "gone.png")


@pytest.mark.parametrize("limit", [80, 40])
def test_decompression_bomb_is_refused(tmp_path, monkeypatch, limit):
    noise(*SIZE).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=rf"bomb\.png`: expected at most {limit} pixels"):
        decode(tmp_path / "bomb.png")


def test_float_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((8, 12), dtype=np.float32)).save(tmp_path / "depth.tif")
    with pytest.raises(DataError, match=r"depth\.tif`: expected 8 or 16 bits a channel, got 32"):
        decode(tmp_path / "depth.tif")


def test_damaged_exif_is_noted_and_the_pixels_are_read(tmp_path):
    noise(*SIZE).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12")
    decoded = decode(tmp_path / "a.jpg")
    assert decoded.image.size == SIZE
    assert "read although Pillow warned: Corrupt EXIF data" in decoded.changes[0]


def test_warnings_are_told_apart_in_many_threads(tmp_path):
    for number in range(40):
        exif = {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12"} if number % 2 else {}
        noise(*SIZE).save(tmp_path / f"{number}.jpg", **exif)
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(decode, [tmp_path / f"{number}.jpg" for number in range(40)]))
    assert [bool(each.changes) for each in decoded] == [bool(number % 2) for number in range(40)]
    assert warnings.filters == filters
