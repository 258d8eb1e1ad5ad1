import io
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from expunge.base.errors import DataError
from expunge.data import DataRequest, load_data


@pytest.fixture
def pack(tmp_path, picture):
    """Return a function that packs one image a path, each of another brightness, and returns the archive's path."""

    def write(*names, mode="w"):
        path = tmp_path / "photos.tar"
        with tarfile.open(path, mode) as archive:
            for row, name in enumerate(names):
                content = io.BytesIO()
                picture(6, 4).point(lambda value, row=row: min(value, 20 * row)).save(content, "PNG")
                info = tarfile.TarInfo(name)
                info.size = content.tell()
                content.seek(0)
                archive.addfile(info, content)
        return path

    return write


def unpacked(archive, folder):
    """Unpack an archive, and return the source of its folder."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return f"imagefolder:{folder}"


@pytest.mark.parametrize("top", ["", "./", "photos/", "./photos/2024/"])
def test_it_is_read_as_its_unpacked_folder_is(pack, tmp_path, top):
    names = ("dog/2.png", "dog/deep/1.png", "cat/b.png", "cat/a.png", "cat/notes.txt", "cat/._a.png", ".git/c.png")
    archive = pack(*(top + name for name in names))
    packed = load_data(f"tar:{archive}")
    folder = load_data(unpacked(archive, tmp_path / "folder") + ("/" + top).rstrip("/."))
    assert packed.class_names == folder.class_names
    assert list(packed.train.ids) == list(folder.train.ids)
    assert packed.train.labels.tolist() == folder.train.labels.tolist()
    rows = [3, 0, 2]
    assert torch.equal(packed.train.load(rows), folder.train.load(rows))


@pytest.mark.parametrize("test", ["test", "val"])
def test_splits(pack, test):
    data = load_data(f"tar:{pack('all/train/a/1.png', 'all/train/b/1.png', f'all/{test}/b/9.png')}")
    assert list(data.train.ids) == ["a/1.png", "b/1.png"]
    assert list(data.test.ids) == ["b/9.png"]
    assert data.test.labels.tolist() == [1]


def test_several_threads_read_at_once(pack):
    images = load_data(f"tar:{pack(*(f'a/{row}.png' for row in range(8)), 'b/0.png')}").train
    expected = images.load(range(9))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda row: images.load([row])[0], [*range(9)] * 5))
    assert torch.equal(torch.stack(found), torch.cat([expected] * 5))


def test_names_of_the_classifier_number_the_folders(pack):
    data = load_data(f"tar:{pack('a/1.png', 'b/1.png')}", DataRequest(class_names=("b", "x", "a")))
    assert data.train.labels.tolist() == [2, 0]


def test_what_cannot_be_read_is_named(pack, tmp_path):
    with pytest.raises(DataError, match="expected a tar archive, got none there"):
        load_data("tar:nowhere.tar")
    with pytest.raises(DataError, match="expected images in one folder a class, got none"):
        load_data(f"tar:{pack('1.png', '2.png')}")
    with pytest.raises(DataError, match=r"a tar archive that is not compressed.*unpack it, and say imagefolder:"):
        load_data(f"tar:{pack('a/1.png', mode='w:gz')}")
    with pytest.raises(DataError, match="expected test classes among those of train, got c"):
        load_data(f"tar:{pack('train/a/1.png', 'train/b/1.png', 'test/c/1.png')}")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(pack("a/1.png", "b/1.png").read_bytes()[:1600])
    with pytest.raises(DataError, match="unexpected end of data"):
        load_data(f"tar:{cut}")


def header(name, size, kind=tarfile.REGTYPE):
    """Return the header of a member that claims this size."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "blocks",
    [
        header("a/1.png", -1024) * 3,
        header("a/1.png", 1 << 62),
        header("pax", 1 << 50, tarfile.XHDTYPE) + header("a/1.png", 0),
        header("pax", 0, tarfile.XHDTYPE) * 3000,
    ],
    ids=["negative", "larger than the file", "more than the memory", "nested"],
)
def test_headers_that_lie_are_refused(tmp_path, blocks):
    path = tmp_path / "lies.tar"
    path.write_bytes(blocks)
    with pytest.raises(DataError, match=r"lies\.tar"):
        load_data(f"tar:{path}")


def test_damaged_archives_are_read_or_refused(pack, tmp_path):
    whole = bytearray(pack("train/a/1.png", "train/b/1.png", "test/a/1.png").read_bytes()[:5000])
    draw = random.Random(0)  # noqa: S311 - no secret
    damaged = tmp_path / "damaged.tar"
    for _ in range(60):
        content = whole[: draw.choice((len(whole), draw.randrange(len(whole))))]
        for place in draw.sample(range(len(content)), min(len(content), 8)):
            content[place] = draw.randrange(256)
        damaged.write_bytes(content)
        try:
            images = load_data(f"tar:{damaged}").train
            images.load(range(len(images.ids)))
        except DataError:
            continue
