"""UTKFace: faces whose file names tell age, gender and ethnic group; the classes are groups of ages."""

import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from expunge.base.errors import DataError
from expunge.data.preprocessing import Preprocessing
from expunge.data.sources.file_images import FileImages, PathsBelow
from expunge.data.sources.imagefolder import is_image_name
from expunge.data.sources.splits import DataRequest, DataSplits

GROUPINGS = {
    "tnn": (0, 10, 15, 20, 25, 30, 40, 50, 60, 120),
    "mfd": (0, 20, 41, 120),
    "balanced": (0, 20, 30, 45, 120),
    "groups": (0, 4, 13, 20, 31, 46, 61, 120),
    "tens": (0, 11, 21, 31, 41, 51, 61, 71, 81, 91, 101, 111, 120),
}
"""The lower edges of the age groups in years, and the age from which on there is none."""

NAME = re.compile(r"(\d{1,3})_[01]_[0-4]_\d+(?:\.jpg\.chip)?\.\w+", re.ASCII)
TRAIN, VALIDATION, ALL = 18_966, 2_371, 23_707
PAPER = Preprocessing(resize=128, crop=(120, 120))
FEWEST = 10
SHOWN = 3


def load_utkface(folder: Path, request: DataRequest) -> DataSplits:
    """Return the faces of UTKFace (Zhang, Song, Qi 2017, arXiv 1702.08423) in `folder`, labelled by age group.

    Options after a question mark: `ages`, one of `GROUPINGS` (tnn); `test`, which part the test images are: `test`, or
    `validation`, for choices that must not be made on what is reported.

    All names in alphabetical order are shuffled once with seed 0; the first 18,966 are for training, the next 2,371 for
    validation, the rest for test (Cha et al. 2024, arXiv 2301.11578); in proportion where the folder holds less than
    the 23,707 of the release. Images are resized to 128 and cropped to 120 unless the request says otherwise. Files
    whose names have not the form AGE_GENDER_RACE_DATE.jpg.chip.jpg, or an age beyond the groups, are left out and
    counted in a remark.

    Differs from the paper: the shuffle is torch's, so the parts are not those of the authors, only as large.

    Raises:
        DataError: no folder, fewer than 10 well-named images in it, an unknown option, or a classifier of another
            number of classes than there are age groups.
    """
    edges = GROUPINGS[request.choose("ages", list(GROUPINGS))]
    measured = request.choose("test", ("test", "validation"))
    if not folder.is_dir():
        raise DataError(str(folder), "a folder", "none there")
    names = sorted(entry.name for entry in os.scandir(folder) if is_image_name(entry.name))
    ages = {name: age for name in names if (age := _age(name)) is not None and age < edges[-1]}
    if len(ages) < FEWEST:
        raise DataError(str(folder), f"{FEWEST} faces named AGE_GENDER_RACE_DATE.jpg.chip.jpg", f"{len(ages)}")
    groups = tuple(f"{first}-{after - 1}" for first, after in pairwise(edges))
    request.check_classes(groups, str(folder))
    good, parts = list(ages), _split(len(ages))
    train, test = (
        _images(folder, [good[row] for row in parts[part]], ages, edges, request) for part in ("train", measured)
    )
    return DataSplits(train, test, request.class_names or groups, _remarks([n for n in names if n not in ages]))


def _age(name: str) -> int | None:
    match = NAME.fullmatch(name)
    return None if match is None else int(match[1])


def _split(count: int) -> dict[str, list[int]]:
    """Return the rows of each part."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    whole = count >= ALL - 10  # a few names of the release are malformed
    train = TRAIN if whole else round(count * TRAIN / ALL)
    after = train + (VALIDATION if whole else max(1, round(count * VALIDATION / ALL)))
    return {"train": order[:train], "validation": order[train:after], "test": order[after:]}


def _images(
    folder: Path, names: Sequence[str], ages: dict[str, int], edges: Sequence[int], request: DataRequest
) -> FileImages:
    labels = torch.tensor([bisect_right(edges, ages[name]) - 1 for name in names])
    given = request.preprocessing
    preprocessing = replace(PAPER, channels=given.channels) if given.keeps_size else given
    return FileImages(names, labels, PathsBelow(folder, names), preprocessing)


def _remarks(skipped: Sequence[str]) -> tuple[str, ...]:
    if not skipped:
        return ()
    some = ", ".join(skipped[:SHOWN]) + (", ..." if len(skipped) > SHOWN else "")
    return (f"{len(skipped)} files left out, as their names don't tell an age below the last edge: {some}",)
