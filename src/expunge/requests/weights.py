"""Weights of a project's versions: read, rebuilt from patches, checked by hash, written whole."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from expunge.base.errors import LedgerError
from expunge.base.tensors import sha256_tensors, write_tensors
from expunge.models.classifier import Classifier
from expunge.models.copying import put_weights
from expunge.models.pixels import Normalisation
from expunge.models.sources import LoadedClassifier, ModelSource, load_classifier
from expunge.requests.patches import apply_patch
from expunge.requests.place import CURRENT_FILE, FIRST_FILE
from expunge.requests.project import Ledger
from expunge.requests.sealed import FIRST, read_patch, read_stored
from expunge.requests.state import Version


def load_first(ledger: Ledger) -> LoadedClassifier:
    """Return the classifier that the versions lead from: the first, or what `purge --versions` began anew from.

    Its weights are never on the disk unsealed, so the deployed file stands in for them until the network is there.

    Raises:
        LedgerError: its weights are missing, or not those that the ledger names.
    """
    created = ledger.state.created
    model = created["model"]
    normalisation = Normalisation(tuple(model["mean"]), tuple(model["std"]))
    source = ModelSource(
        model["architecture"],
        ledger.folder / CURRENT_FILE,
        model["num_classes"],
        normalisation,
        tuple(model["class_names"]),
    )
    read_current(ledger)
    loaded = load_classifier(source)
    first = with_weights(loaded.classifier, read_first(ledger))
    preprocessing = loaded.preprocessing.sized(model.get("resize"), model.get("crop"))
    return replace(loaded, classifier=first, preprocessing=preprocessing, weights_sha256=first.sha256())


def read_first(ledger: Ledger) -> dict[str, Tensor]:
    """Return the weights that the versions lead from.

    Raises:
        LedgerError: they are missing, or not those that the ledger names.
    """
    state = ledger.state
    if state.first is None:
        weights = _read(ledger.folder / FIRST_FILE)
    else:
        weights = tensors_of(read_stored(ledger, state.first, "the first weights", FIRST), state.first.path)
    if sha256_tensors(weights) != state.sha256_of(state.base):
        place = FIRST_FILE if state.first is None else state.first.path
        raise LedgerError(place, f"weights {state.sha256_of(state.base)[:12]}...", "others", "the file was changed")
    return weights


def read_current(ledger: Ledger) -> dict[str, Tensor]:
    """Return the newest weights.

    Raises:
        LedgerError: the file is missing or damaged, or holds other weights.
    """
    path, state = ledger.folder / CURRENT_FILE, ledger.state
    weights = _read(path)
    found = sha256_tensors(weights)
    if found != state.weights_sha256:
        hint = "the file was changed"
        if ledger.head.finished < ledger.last.number and found in state.all_sha256():
            hint = "a command is at work, or was interrupted: wait, or let `expunge requests apply` go on"
        raise LedgerError(str(path), f"the weights of version {state.newest}", "others", hint)
    return weights


def rebuild(ledger: Ledger, version: int) -> dict[str, Tensor]:
    """Return the weights of a version of the newest weights' lineage, from the first weights and the patches.

    Raises:
        LedgerError: a patch is missing, damaged or another one.
    """
    weights = read_first(ledger)
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
    return apply_patch(weights, read_patch(ledger, version), version.patch.path)


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
    put_weights(twin.network, weights)
    twin.module.eval()
    return twin


def tensors_of(content: bytes, place: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        LedgerError: it is none.
    """
    try:
        return load(content)
    except (SafetensorError, ValueError) as error:
        raise LedgerError(place, "a whole safetensors file", f"{error}", "the file is damaged") from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise LedgerError(str(path), "weights", "no file", "restore it from a backup") from error
    except OSError as error:
        raise LedgerError(str(path), "weights", f"{error.strerror}", "restore it from a backup") from error
    return tensors_of(content, str(path))
