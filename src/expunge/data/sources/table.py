"""Where images come from: the table of data sources."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from expunge.base.errors import DataError, suggest
from expunge.data.sources.cifar import load_cifar10, load_cifar100
from expunge.data.sources.folder import load_folder
from expunge.data.sources.huggingface import load_huggingface
from expunge.data.sources.imagefolder import load_imagefolder
from expunge.data.sources.imagenet import load_imagenet, load_imagenet_a
from expunge.data.sources.npz import load_npz
from expunge.data.sources.own import declared_sources, is_function, load_function
from expunge.data.sources.splits import DataRequest, DataSplits
from expunge.data.sources.tar import load_tar
from expunge.data.sources.torchvision_sets import load_torchvision
from expunge.data.sources.utkface import load_utkface

SOURCES: dict[str, Callable[[Path, DataRequest], DataSplits]] = {
    "npz": load_npz,
    "folder": load_folder,
    "imagefolder": load_imagefolder,
    "tar": load_tar,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "imagenet": load_imagenet,
    "imagenet-a": load_imagenet_a,
    "utkface": load_utkface,
    "hf": load_huggingface,
    "torchvision": load_torchvision,
}
OPTIONS = {"npz": ("first",), "utkface": ("ages", "test"), "hf": ("image", "label", "train", "test", "config")}
"""What may be said after a question mark, by kind of source; elsewhere one belongs to the path."""
WITH_TABLE = ("folder", "imagefolder")


def load_data(spec: str, request: DataRequest = DataRequest()) -> DataSplits:  # noqa: B008 - frozen
    """Return the images that `spec` names.

    Args:
        spec: npz:FILE, folder:DIR, imagefolder:DIR, tar:FILE, cifar10:ROOT, cifar100:ROOT, imagenet:ROOT,
            imagenet-a:DIR, utkface:DIR, hf:NAME-or-folder or torchvision:NAME:DIR; some take options, as in
            utkface:DIR?ages=mfd. Or a function of the user's own, package.module:function, or a source of
            another package, NAME:PLACE.
        request: how they are wanted.

    Raises:
        DataError: an unknown kind of source or option, a table for a source that takes none, a label beyond the
            classifier's classes, or whatever the source's own function finds wrong.

    >>> load_data("folder:nowhere")
    Traceback (most recent call last):
    ...
    expunge.base.errors.DataError: `nowhere`: expected a folder, got none there
    """
    splits = _load(spec, request)
    for name, images in (("training", splits.train), ("test", splits.test)):
        highest = -1 if images is None else int(images.labels.max())
        if request.num_classes is not None and highest >= request.num_classes:
            rule = f"{name} labels in 0..{request.num_classes - 1}, the classifier's classes"
            raise DataError(spec, rule, str(highest), "are these the images that it was trained on?")
    return splits


def names_own_function(spec: object) -> bool:
    """Return whether loading this source runs a function of somebody's code; installed packages are trusted.

    >>> names_own_function("mine.images:load"), names_own_function("npz:some")
    (True, False)
    """
    if not isinstance(spec, str) or not is_function(spec):
        return False
    kind = spec.partition(":")[0]
    return kind not in SOURCES and kind not in declared_sources(SOURCES)


def _load(spec: str, request: DataRequest) -> DataSplits:
    kind = spec.partition(":")[0]
    others = {} if kind in SOURCES else declared_sources(SOURCES)
    if request.table is not None and kind not in WITH_TABLE:
        raise DataError(
            "table", f"a table only with {' or '.join(f'{name}:' for name in WITH_TABLE)}", f"one with {spec}"
        )
    if kind in others:
        return others[kind](Path(spec.partition(":")[2]).expanduser(), request)
    if names_own_function(spec):
        return load_function(spec, request, otherwise=f", or one of {', '.join(f'{name}:PATH' for name in SOURCES)}")
    kind, place, options = parse_source(spec)
    return SOURCES[kind](place, replace(request, options=options))


def parse_source(spec: str) -> tuple[str, Path, dict[str, str]]:
    """Return the kind of source that `spec` names, its place, and its options.

    Raises:
        DataError: an unknown kind or option, or no place.

    >>> parse_source("npz:some.npz?first=100")
    ('npz', ...Path('some.npz'), {'first': '100'})
    """
    kind, colon, place = spec.partition(":")
    if kind not in SOURCES or not colon or not place:
        known = ", ".join(f"{name}:PATH" for name in SOURCES)
        expected = f"one of {known}, or package.module:function"
        raise DataError("data", expected, repr(spec), suggest(kind, SOURCES))
    place, options = _read_options(kind, place)
    return kind, Path(place).expanduser(), options


def _read_options(kind: str, place: str) -> tuple[str, dict[str, str]]:
    """Return the place without its options, and those."""
    if kind not in OPTIONS or "?" not in place:
        return place, {}
    place, _, query = place.rpartition("?")
    options: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if name not in OPTIONS[kind] or not equals or not value or name in options:
            known = ", ".join(f"{option}=..." for option in OPTIONS[kind])
            raise DataError(f"options of {kind}:", f"{known}, joined by &, each once", part or "nothing")
        options[name] = value
    return place, options
