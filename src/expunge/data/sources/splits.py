"""What a data source gives, and what it is asked for."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from expunge.base.errors import DataError, suggest
from expunge.data.images import ConcatImages, Images, Subset
from expunge.data.preprocessing import AS_IS, Preprocessing
from expunge.data.sources.file_images import FileImages


@dataclass(frozen=True, slots=True)
class DataRequest:
    """How images are wanted.

    Args:
        preprocessing: what is done to every image.
        table: the CSV table of a `folder:` source; None for the one in the folder.
        class_names: the classifier's class names, where known: labels given as names are looked up in them.
        num_classes: how many classes the classifier has; then no label may be beyond them, and where the data's
            own names are numbered in alphabetical order, there must be as many.
        names_given: whether the user said the class names; a folder of another name is a mistake then.
        options: what was said after the question mark of the source, by name.
    """

    preprocessing: Preprocessing = AS_IS
    table: Path | None = None
    class_names: tuple[str, ...] = ()
    num_classes: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    names_given: bool = False

    def choose(self, option: str, choices: Sequence[str]) -> str:
        """Return what was said for `option`, the first of `choices` if nothing was.

        Raises:
            DataError: it is none of `choices`.
        """
        chosen = self.options.get(option, choices[0])
        if chosen not in choices:
            raise DataError(option, f"one of {', '.join(choices)}", chosen, suggest(chosen, choices))
        return chosen

    def check_class_count(self, found: int, place: str) -> None:
        """Check that `found` classes, which have names but no numbers, are all of the classifier's.

        Some of its classes only would get the numbers of others.

        Raises:
            DataError: there are more or fewer.
        """
        if self.num_classes is not None and found != self.num_classes:
            raise DataError(
                place,
                f"the classifier's {self.num_classes} classes, to be numbered in alphabetical order",
                str(found),
                "say --classes with the names of all of them in the classifier's order, where these are some",
            )

    def check_classes(self, names: Sequence[str], place: str) -> None:
        """Check that there are as many classes as the classifier has.

        Raises:
            DataError: there are more or fewer.
        """
        if self.num_classes is not None and len(names) != self.num_classes:
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise DataError(
                place,
                f"images of the classifier's {self.num_classes} classes",
                f"{len(names)} classes: {some}",
                "was it trained on other images?",
            )


@dataclass(frozen=True, slots=True)
class DataSplits:
    """The training images, which the forget rows come from, and test images where the source has them.

    Args:
        train: the training images.
        test: images the classifier was not trained on; None if there are none.
        class_names: the name of each label, in order; empty if unknown.
        remarks: what was noticed when the source was opened.
    """

    train: Images
    test: Images | None = None
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def sha256(self) -> str:
        """Return one hash over ids and labels of all images; pixels do not count, since reading them takes long."""
        parts = {"train": self.train, "test": self.test}
        told = {name: [*each.ids, each.labels.tolist()] for name, each in parts.items() if each is not None}
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know so far; grows as images are loaded, because they are decoded late."""
        files, parts = dict[int, FileImages](), dict[int, list[str]]()
        for name, images in (("train", self.train), ("test", self.test)):
            for below in _files_below(images):
                files[id(below)] = below
                parts.setdefault(id(below), []).append(name)
        said = (f"{' and '.join(parts[key])}: {note}" for key, below in files.items() for note in below.notes())
        return (*self.remarks, *said)


def _files_below(images: Images | None) -> Iterator[FileImages]:
    """Yield the image files that images are read from."""
    if isinstance(images, FileImages):
        yield images
    elif isinstance(images, Subset):
        yield from _files_below(images.images)
    elif isinstance(images, ConcatImages):
        yield from _files_below(images.first)
        yield from _files_below(images.second)
