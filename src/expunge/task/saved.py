"""The folder of an edited classifier: what others load, on the disk and on the Hugging Face hub, and the edit in it."""

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from expunge.base.disk import sha256_file
from expunge.base.errors import OutputError, package_needed
from expunge.models.classifier import Classifier
from expunge.models.description import DESCRIPTION_FILE, WEIGHTS_FILE, Description, write_description
from expunge.models.export import Exported, export_classifier
from expunge.models.libraries import CONFIG_FILE, PREPROCESSOR_FILE, write_library_files
from expunge.models.sources.saved import read_classifier
from expunge.task.card import CARD_FILE, write_card
from expunge.task.task import StopReason

RESULT_FILE = "result.json"
LIBRARY_FILES = (CONFIG_FILE, PREPROCESSOR_FILE)
PUBLIC_FILES = (WEIGHTS_FILE, DESCRIPTION_FILE, CARD_FILE, *LIBRARY_FILES)


@dataclass(frozen=True, slots=True, repr=False)
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

    def __repr__(self) -> str:
        """Return what it is in a line; the result has a trace of every step."""
        goal = f"{self.result['goal']}: {self.goal_achieved:.0%} of the images, {self.stop_reason.value}"
        return f"SavedEdit({str(self.folder)!r}, {self.method}, {goal})"

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

    def push_to_hub(self, repo: str, *, private: bool = True, create_pr: bool = False) -> str:
        """Upload the classifier to the Hugging Face hub and return the address; see `push_to_hub`."""
        described = self.classifier, self.description, self.result
        return push_to_hub(*described, repo, private=private, create_pr=create_pr)


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
    except OSError as error:
        raise OutputError(str(path), "the result of an edit", error.strerror or f"{error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise OutputError(str(path), "the result of an edit", f"{error!r}", "is the folder complete?") from error
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise OutputError(str(folder / name), "a file of the edit", "none there")
        if sha256_file(folder / name) != digest:
            raise OutputError(str(folder / name), "the file that was saved", "another", "take the folder's backup")
    classifier, description = read_classifier(folder, network, allow_code=allow_code)
    return SavedEdit(folder, classifier, description, result)


def write_companions(
    classifier: Classifier, description: Description, result: Mapping[str, Any], folder: Path
) -> list[str]:
    """Write what stands beside the weights for others to load them, and return the names of the files but the card's.

    These are classifier.json, the model card, and the configuration of the network's library, if it has one.
    """
    write_description(classifier, description, folder)
    write_card(classifier, description, result, folder)
    library = write_library_files(classifier, description.shape, description.preprocessing, folder)
    return [DESCRIPTION_FILE, *library]


def push_to_hub(
    classifier: Classifier,
    description: Description,
    result: Mapping[str, Any],
    repo: str,
    *,
    private: bool,
    create_pr: bool,
) -> str:
    """Upload the weights, their configuration and the card; return the address of the commit or pull request.

    Nothing else leaves the machine: no patch, which would undo the edit, and no table of the forgotten images.

    Args:
        classifier: the edited one; it is loaded from the files and compared before anything is sent.
        description: how it is used.
        result: the content of result.json.
        repo: name or owner/name; made if it isn't there.
        private: whether a new one is seen by its owner alone.
        create_pr: whether the files are proposed by a pull request, which leaves the repository as it is.

    Raises:
        ExpungeError: huggingface_hub isn't installed, or the files don't load to the same answers.
        OutputError: the hub refuses, or can't be reached.
    """
    with package_needed("huggingface_hub", "huggingface"):
        import huggingface_hub  # noqa: PLC0415 - an optional extra
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        export_edited(classifier, description, result, folder, ["hub"])
        hub = huggingface_hub.HfApi()
        try:
            made = hub.create_repo(repo, private=private, exist_ok=True)
            sent = hub.upload_folder(
                repo_id=made.repo_id,
                folder_path=folder,
                allow_patterns=list(PUBLIC_FILES),
                commit_message="An edited classifier",
                create_pr=create_pr,
            )
        except Exception as error:  # the hub's client raises errors of many kinds, its HTTP library's among them
            reason = f"{type(error).__name__}: {error}".split("\n")[0]
            raise OutputError(repo, "a repository of the hub that takes files", reason, "hf auth login") from error
    return str(sent.pr_url if create_pr else sent.commit_url)


def export_edited(
    classifier: Classifier,
    description: Description,
    result: Mapping[str, Any],
    folder: Path,
    formats: list[str],
) -> list[Exported]:
    """Write the classifier in these formats with its card, and return what was written; see `export_classifier`."""
    exported = export_classifier(classifier, description, folder, formats)
    write_card(classifier, description, result, folder)
    return exported
