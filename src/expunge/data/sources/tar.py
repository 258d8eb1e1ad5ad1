"""Images in a tar archive, sorted into one folder a class; the archive stays packed."""

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import torch

from expunge.base.errors import DataError
from expunge.base.visible import visible_name
from expunge.data.sources.decoding import Encoded
from expunge.data.sources.file_images import FileImages
from expunge.data.sources.imagefolder import TEST_NAMES, is_image_name, number_classes
from expunge.data.sources.places import check_is_file
from expunge.data.sources.splits import DataRequest, DataSplits

BROKEN = (tarfile.TarError, OSError, ValueError, OverflowError, MemoryError, RecursionError)
"""What Python's reader raises where a header is damaged, or claims what is not there."""

Names = tuple[str, ...]
"""The folders of a file in the archive, and its own name."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file lies in the archive, in bytes."""

    names: Names
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class PackedFiles(Sequence[Encoded]):
    """Files in an archive, read when asked for, by several threads at once."""

    archive: Path
    members: Sequence[Member]

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, row: int) -> Encoded: ...
    @overload
    def __getitem__(self, row: slice) -> "PackedFiles": ...
    def __getitem__(self, row: int | slice) -> "Encoded | PackedFiles":
        if isinstance(row, slice):
            return PackedFiles(self.archive, self.members[row])
        member = self.members[row]
        with self.archive.open("rb") as file:
            file.seek(member.offset)
            return Encoded(f"{self.archive}: {visible_name('/'.join(member.names))}", file.read(member.size))


def load_tar(archive: Path, request: DataRequest) -> DataSplits:
    """Return the images of an archive of class/image.jpg, or of train/class/image.jpg beside test/ or val/.

    Folders around all of them don't count. Splits, classes and ids are those of `load_imagefolder`. Nothing is
    unpacked: an image is read from its place in the archive when it is asked for, so the archive can't be compressed.

    Raises:
        DataError: no such archive, one that is compressed or holds no images in folders, test classes that the training
            images lack, or another number of classes than the classifier's.
    """
    members = _without_top(_find_images(archive))
    parts = {name: _below(members, name) for name in ("train", *TEST_NAMES)}
    train = parts["train"] or members
    found = sorted({member.names[0] for member in train if len(member.names) > 1})
    if not found:
        raise DataError(str(archive), "images in one folder a class", "none")
    class_names, remarks = number_classes(str(archive), found, request)
    images = _images(archive, train, class_names, request)
    tested = next((parts[name] for name in TEST_NAMES if parts["train"] and parts[name]), None)
    if tested is None:
        return DataSplits(images, None, class_names, remarks)
    unknown = sorted({member.names[0] for member in tested} - set(class_names))
    if unknown:
        raise DataError(str(archive), "test classes among those of train", ", ".join(unknown[:5]))
    return DataSplits(images, _images(archive, tested, class_names, request), class_names, remarks)


def _find_images(archive: Path) -> list[Member]:
    """Return where the image files of an archive lie; links, and names that are hidden, are passed over."""
    check_is_file(archive, "tar")
    found: list[Member] = []
    try:
        with tarfile.open(archive, "r:") as opened:
            end = 0
            while member := opened.next():
                if member.size < 0 or member.offset < end:
                    raise tarfile.ReadError("a file that ends before it begins")
                end = member.offset_data + member.size
                names = tuple(part for part in member.name.split("/") if part not in ("", "."))
                hidden = any(name.startswith(".") for name in names)
                if member.isreg() and not member.issparse() and names and not hidden and is_image_name(names[-1]):
                    found.append(Member(names, member.offset_data, member.size))
                opened.members = []  # type: ignore[attr-defined] # it would keep all of them
    except FileNotFoundError as error:
        raise DataError(str(archive), "a tar archive", "none there") from error
    except BROKEN as error:
        hint = "unpack it, and say imagefolder:"
        raise DataError(str(archive), "a tar archive that is not compressed", f"{error!r}", hint) from error
    return sorted(found, key=lambda member: member.names)


def _without_top(members: list[Member]) -> list[Member]:
    """Return the members without the folders that are around all of them."""
    while all(len(member.names) > 2 for member in members) and len({member.names[0] for member in members}) == 1:
        top = members[0].names[0]
        if top == "train":
            break
        members = _below(members, top)
    return members


def _below(members: Sequence[Member], folder: str) -> list[Member]:
    """Return the members in a folder, named from there."""
    inside = (member for member in members if member.names[0] == folder and len(member.names) > 2)
    return [Member(member.names[1:], member.offset, member.size) for member in inside]


def _images(archive: Path, members: Sequence[Member], class_names: Sequence[str], request: DataRequest) -> FileImages:
    numbers: Mapping[str, int] = {name: number for number, name in enumerate(class_names)}
    kept = [member for member in members if len(member.names) > 1]
    labels = torch.tensor([numbers[member.names[0]] for member in kept])
    ids = [visible_name("/".join(member.names)) for member in kept]
    return FileImages(ids, labels, PackedFiles(archive, kept), request.preprocessing)
