"""An edited classifier as a folder that others load, on the disk and on the Hugging Face hub."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.base.errors import OutputError, package_needed
from expunge.models.classifier import Classifier
from expunge.models.description import DESCRIPTION_FILE, WEIGHTS_FILE, Description, write_description
from expunge.models.export import Exported, export_classifier
from expunge.models.libraries import CONFIG_FILE, PREPROCESSOR_FILE, write_library_files
from expunge.task.card import CARD_FILE, write_card

LIBRARY_FILES = (CONFIG_FILE, PREPROCESSOR_FILE)
PUBLIC_FILES = (WEIGHTS_FILE, DESCRIPTION_FILE, CARD_FILE, *LIBRARY_FILES)


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
    classifier: Classifier, description: Description, result: Mapping[str, Any], repo: str, *, private: bool
) -> str:
    """Upload the weights, their configuration and the card; return the address of the commit.

    Nothing else leaves the machine: no patch, which would undo the edit, and no table of the forgotten images.

    Args:
        classifier: the edited one; it is loaded from the files and compared before anything is sent.
        description: how it is used.
        result: the content of result.json.
        repo: name or owner/name; made if it isn't there.
        private: whether a new one is seen by its owner alone.

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
            )
        except Exception as error:  # the hub's client raises errors of many kinds, its HTTP library's among them
            reason = f"{type(error).__name__}: {error}".split("\n")[0]
            raise OutputError(repo, "a repository of the hub that takes files", reason, "hf auth login") from error
    return str(sent.commit_url)


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
