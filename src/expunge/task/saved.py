"""An edit as its folder tells of it."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from expunge.base.disk import sha256_file
from expunge.base.errors import OutputError
from expunge.models.classifier import Classifier
from expunge.models.description import Description, read_classifier
from expunge.models.export import Exported
from expunge.task.publish import LIBRARY_FILES, export_edited, push_to_hub
from expunge.task.task import StopReason

RESULT_FILE = "result.json"


@dataclass(frozen=True, slots=True)
class SavedEdit:
    """An edited classifier and its result, read from a folder; the images and the first weights are not in there.

    Args:
        folder: where it was read from.
        classifier: the edited one, in eval mode on the CPU.
        description: how it is used: image size, preprocessing, architecture.
        result: the content of result.json.
    """

    folder: Path
    classifier: Classifier
    description: Description
    result: Mapping[str, Any]

    @property
    def goal_achieved(self) -> float:
        """Return the share of rows for which the goal holds on the very pixels given, 0..1."""
        return float(self.result["goal_achieved"])

    @property
    def stop_reason(self) -> StopReason:
        """Return why the edit ended."""
        return StopReason(self.result["stop_reason"])

    @property
    def method(self) -> str:
        """Return the name of the method."""
        return str(self.result["method"])

    def export(self, folder: Path, formats: list[str]) -> list[Exported]:
        """Write the classifier and its card to `folder`, which is there; see `export_classifier`."""
        return export_edited(self.classifier, self.description, self.result, folder, formats)

    def push_to_hub(self, repo: str, *, private: bool = True) -> str:
        """Upload the classifier to the Hugging Face hub and return the commit's address; see `publish.push_to_hub`."""
        return push_to_hub(self.classifier, self.description, self.result, repo, private=private)


def earlier_library_files(folder: Path) -> tuple[str, ...]:
    """Return the library's files that an earlier result in `folder` names; others of these names are the user's own."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        files = json.loads((folder / RESULT_FILE).read_text("utf-8"))["files"]
        return tuple(name for name in LIBRARY_FILES if name in files)
    return ()


def read_edit(folder: str | Path, network: nn.Module | None = None, *, allow_code: bool = False) -> SavedEdit:
    """Return the edit that `Edit.save` or `expunge run` wrote to `folder`.

    Args:
        folder: a complete one; its files are checked against the hashes in result.json.
        network: a network of the same architecture, where the folder can't say how to make one.
        allow_code: whether a function that the folder names may be run to make the network.

    Raises:
        OutputError: no result, or a file that isn't the one that was saved.
        ClassifierError: the network can't be made, or the weights don't fit it.
    """
    folder = Path(folder)
    path = folder / RESULT_FILE
    try:
        result: dict[str, Any] = json.loads(path.read_text("utf-8"))
        files = {Path(name).name: str(digest) for name, digest in result["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise OutputError(str(path), "the result of an edit", f"{error!r}", "is the folder complete?") from error
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise OutputError(str(folder / name), "a file of the edit", "none there")
        if sha256_file(folder / name) != digest:
            raise OutputError(str(folder / name), "the file that was saved", "another", "take the folder's backup")
    classifier, description = read_classifier(folder, network, allow_code=allow_code)
    return SavedEdit(folder, classifier, description, result)
