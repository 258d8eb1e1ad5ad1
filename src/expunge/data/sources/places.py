"""What lies at a place, a file or a folder, and which source is right for it where another was named."""

from pathlib import Path

from expunge.base.errors import DataError

TABLE_NAMES = ("table.csv", "labels.csv")
KIND_OF_ENDING = {".npz": "npz", ".tar": "tar"}


def check_is_file(path: Path, kind: str) -> None:
    """Check that `path` is no folder.

    Raises:
        DataError: it is one; the hint names the source for it.
    """
    if path.is_dir():
        has_table = any((path / name).is_file() for name in TABLE_NAMES)
        right = "folder" if has_table else "imagefolder"
        raise DataError(str(path), f"a file, as {kind}: reads", "a folder", f"say {right}:{path}")


def check_is_folder(path: Path, kind: str) -> None:
    """Check that `path` is a folder.

    Raises:
        DataError: it isn't; where it is a file that a source reads, the hint names that.
    """
    if path.is_dir():
        return
    if not path.is_file():
        raise DataError(str(path), "a folder", "none there")
    right = KIND_OF_ENDING.get(path.suffix.lower())
    hint = f"say {right}:{path}" if right else ""
    if path.suffix.lower() == ".csv":
        hint = f"say folder:{path.parent} and --table {path}"
    raise DataError(str(path), f"a folder, as {kind}: reads", "a file", hint)


def is_file(path: Path) -> bool:
    """Return whether there is a file; a name that the system takes for too long is none."""
    try:
        return path.is_file()
    except OSError:
        return False
