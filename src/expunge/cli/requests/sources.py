"""Sources as people name them, made independent of the current folder; without torch, for the desk's sake."""

from pathlib import Path

from expunge.base.declared import find_declared

GROUP = "expunge.data"
FILES = ("npz", "folder", "imagefolder", "tar", "cifar10", "cifar100", "imagenet", "imagenet-a", "utkface")
"""Kinds of sources of images that are followed by a file or folder."""
OR_NAMES = ("hf", "transformers")
"""Kinds that are followed by a folder, or by a name on the hub."""
WITH_OPTIONS = ("npz", "utkface", "hf")
"""Kinds of images that options may follow, after the last question mark; elsewhere one belongs to the path."""


def absolute_source(source: str) -> str:
    """Return a source of images or of a classifier with its file or folder, if it names one, as an absolute path.

    What another package's source is given counts as a path if it is there. Names on the hub, architectures and
    functions stay as they are.

    >>> absolute_source("npz:/there/some.npz?first=100"), absolute_source("mine.images:load")
    ('npz:/there/some.npz?first=100', 'mine.images:load')
    """
    kind, _, place = source.partition(":")
    if not place:
        return source
    if kind in ("torchvision", "timm"):
        return f"{kind}:{_below_name(kind, place)}"
    path, mark, options = place, "", ""
    if kind in WITH_OPTIONS and "?" in place:
        path, mark, options = place.rpartition("?")
    if kind in FILES or (_is_there(path) and (kind in OR_NAMES or kind in find_declared(GROUP, "source", ()))):
        path = _absolute(path)
    return f"{kind}:{path}{mark}{options}"


def _below_name(kind: str, place: str) -> str:
    """Return NAME:FOLDER of torchvision's data, or local-dir:FOLDER of timm, with an absolute folder."""
    name, colon, folder = place.partition(":")
    if not folder or "?" in name or (kind == "timm" and name != "local-dir"):
        return place
    mark, options = "", ""
    if kind == "timm":
        folder, mark, options = folder.partition("?")
    return f"{name}{colon}{_absolute(folder)}{mark}{options}"


def _is_there(path: str) -> bool:
    return bool(path) and Path(path).expanduser().exists()


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())
