import os

import pytest
import torch

from expunge.base.errors import OutputError
from expunge.compute.spilled import FileImages, allocate_images

X = torch.rand(7, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("memory", [0, 10**9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_come_back_as_they_were_written(tmp_path, memory, dtype):
    x = X.to(dtype)
    room = allocate_images(x[:1], 7, memory_bytes=memory, folder=tmp_path)
    assert isinstance(room, FileImages) == (memory == 0)
    assert len(room) == 7
    order = torch.tensor([3, 0, 6])
    room[order] = x[order]
    assert torch.equal(room[torch.tensor([6, 3, 3])], x[[6, 3, 3]])
    assert bool((room[torch.tensor([1, 2])] == 0).all())
    assert room[torch.tensor([], dtype=torch.int64)].shape == (0, 3, 4, 5)
    assert room[order].dtype == dtype


def test_channels_last_images_keep_their_pixels(tmp_path):
    room = FileImages(X, 7, tmp_path)
    room[torch.arange(7)] = X.contiguous(memory_format=torch.channels_last)
    assert torch.equal(room[torch.arange(7)], X)


class OneByteAtATime:
    """A file that moves less than it is asked to, as a file may, and has room for so many bytes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def seek(self, place):
        self._file.seek(place)

    def readinto(self, where):
        return self._file.readinto(where[:1])

    def write(self, what):
        written = self._file.write(what[: min(1, self._room)])
        self._room -= written
        return written

    def close(self):
        self._file.close()


def test_what_moves_in_parts_arrives_as_a_whole_or_not_at_all(tmp_path):
    room = FileImages(X, 7, tmp_path)
    room._file = OneByteAtATime(room._file, room=2 * X[0].numel() * 4 + 5)
    room[torch.tensor([1, 4])] = X[[1, 4]]
    assert torch.equal(room[torch.tensor([4, 1])], X[[4, 1]])
    with pytest.raises(OutputError, match="expected all bytes of an image, got 235 too few"):
        room[torch.tensor([0])] = X[:1]


def test_no_name_is_left_in_the_folder(tmp_path):
    room = FileImages(X, 1000, tmp_path)
    room[torch.tensor([999])] = X[:1]
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names that are hidden, too


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="expected a folder for a temporary file"):
        FileImages(X, 1, tmp_path / "nowhere")
