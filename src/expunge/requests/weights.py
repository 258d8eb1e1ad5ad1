"""Weights of a project's versions: read, rebuilt from patches, checked by hash, written whole."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from expunge.base.errors import LedgerError
from expunge.base.tensors import sha256_file, sha256_tensors, write_tensors
from expunge.models.classifier import Classifier
from expunge.models.sources import LoadedClassifier, ModelSource, load_classifier
from expunge.requests.patches import apply_patch
from expunge.requests.project import CURRENT_FILE, FIRST_FILE, Ledger
from expunge.requests.state import Version


def load_first(ledger: Ledger) -> LoadedClassifier:
    """Return the first classifier of the project.

    Raises:
        LedgerError: its weights are missing, or not those that the project began with.
    """
    path = ledger.folder / FIRST_FILE
    if not path.is_file():
        raise LedgerError(str(path), "the weights of the first classifier", "no file", "restore it from a backup")
    created = ledger.state.created
    model = created["model"]
    mean, std = tuple(model["mean"]), tuple(model["std"])
    loaded = load_classifier(
        ModelSource(model["architecture"], path, model["num_classes"], mean, std, tuple(model["class_names"]))
    )
    if loaded.weights_sha256 != created["weights_sha256"]:
        raise LedgerError(str(path), f"weights {created['weights_sha256'][:12]}...", "others", "the file was changed")
    return loaded


def read_current(ledger: Ledger) -> dict[str, Tensor]:
    """Return the newest weights.

    Raises:
        LedgerError: the file is missing or damaged, or holds other weights.
    """
    path = ledger.folder / CURRENT_FILE
    weights = _read(path)
    if sha256_tensors(weights) != ledger.state.weights_sha256:
        raise LedgerError(str(path), f"the weights of version {ledger.state.newest}", "others", "the file was changed")
    return weights


def rebuild(ledger: Ledger, version: int) -> dict[str, Tensor]:
    """Return the weights of a version of the newest weights' lineage, from the first classifier and the patches.

    Raises:
        LedgerError: a patch is missing, damaged or another one.
    """
    weights = _read(ledger.folder / FIRST_FILE)
    for step in ledger.state.lineage():
        if step.number > version:
            break
        weights = follow(ledger, weights, step)
    if sha256_tensors(weights) != ledger.state.sha256_of(version):
        raise LedgerError(f"version {version}", "weights of its hash", "others", "a patch was swapped")
    return weights


def follow(ledger: Ledger, weights: Mapping[str, Tensor], version: Version) -> dict[str, Tensor]:
    """Return the weights at the other end of a version's patch.

    Raises:
        LedgerError: the patch is missing, or not the one that the ledger names.
    """
    path = ledger.folder / version.patch.path
    if not path.is_file():
        raise LedgerError(str(path), f"the patch of version {version.number}", "no file", "restore it from a backup")
    if sha256_file(path) != version.patch.sha256:
        raise LedgerError(
            str(path), f"the patch of version {version.number}", "another file", "it was swapped or damaged"
        )
    return apply_patch(weights, path)


def sha256_weights(path: Path) -> str:
    """Return the hash of the weights in a file.

    Raises:
        LedgerError: it can't be read.
    """
    return sha256_tensors(_read(path))


def write_current(ledger: Ledger, weights: Mapping[str, Tensor]) -> None:
    """Make `weights` the file that is deployed; they must be the newest version's."""
    digest = sha256_tensors(weights)
    assert digest == ledger.state.weights_sha256  # noqa: S101 - the program's own invariant
    metadata = {"format": "pt", "weights_sha256": digest, "version": str(ledger.state.newest)}
    write_tensors(ledger.folder / CURRENT_FILE, weights, metadata)


def with_weights(classifier: Classifier, weights: Mapping[str, Tensor]) -> Classifier:
    """Return a copy of the classifier with other weights."""
    twin = classifier.copy()
    twin.network.load_state_dict(dict(weights))
    twin.module.eval()
    return twin


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise LedgerError(str(path), "weights", "no file", "restore it from a backup") from error
    except (SafetensorError, OSError) as error:
        raise LedgerError(str(path), "a whole safetensors file", f"{error}", "the file is damaged") from error
