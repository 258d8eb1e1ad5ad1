"""Keepers of a project, sealed: what lets forgotten images be held and checked without the images."""

import hashlib
from dataclasses import asdict
from typing import Any

import torch
from safetensors.torch import load, save

from expunge.base.disk import write_bytes
from expunge.base.errors import LedgerError
from expunge.compute.seeds import seeded_generator
from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.methods.continual import find_keeper_cut
from expunge.models.classifier import Classifier
from expunge.requests.place import IMAGES_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.state import Request, StoredFile
from expunge.task.keepers import COPIES, Keeper, from_levels, make_keeper, to_levels
from expunge.task.task import Strength

SUFFIX = ".keeper.sealed"
"""In the folder of images: what is done to files there is done to keepers."""


def find_cut_of(ledger: Ledger, first: Classifier) -> str | None:
    """Return the module before which no edit of the project may change a weight; None if it wants no keepers.

    Raises:
        LedgerError: the classifier can't be cut.
    """
    shape = ledger.state.shape
    if not ledger.state.keeps or shape is None:
        return None
    cut = find_keeper_cut(first, torch.full((2, *shape), (first.bounds.lower + first.bounds.upper) / 2))
    if cut is None:
        hint = "keep images instead: add --keep-until"
        raise LedgerError("keepers", "a classifier that passes images on through a single module", "none", hint)
    return cut


def store_keeper(
    ledger: Ledger, request: Request, rows: ForgetSet, classifier: Classifier, cut: str, sharing: Sharing
) -> tuple[str, dict[str, Any]]:
    """Write the keeper of a request, sealed, and return the event that names it.

    Args:
        ledger: locked for writing.
        request: whose images `rows` are.
        rows: with their images.
        classifier: any version.
        cut: of the project.
        sharing: how many go through at a time.
    """
    generator = seeded_generator(request.how["seed"], f"keeper of {request.name}")
    count = COPIES if Strength(request.how["strength"]) is Strength.ROBUST else 0
    keeper = make_keeper(classifier, cut, rows, generator, copies=count, at_once=sharing)
    (x, x_scale), (copies, scale) = to_levels(keeper.rows.x), to_levels(keeper.copies.flatten(0, 1))
    tensors = {"x": x, "x_scale": x_scale, "copies": copies.view(keeper.copies.shape), "copies_scale": scale}
    sealed = ledger.keys.seal_file(save(tensors), request.name)
    digest = hashlib.sha256(sealed).hexdigest()
    path = f"{IMAGES_FOLDER}/{request.name}-{digest[:12]}{SUFFIX}"
    write_bytes(ledger.folder / path, sealed)
    return "kept", {"request": request.name, "keeper": asdict(StoredFile(path, digest, len(sealed)))}


def load_keeper(ledger: Ledger, request: Request, cut: str) -> Keeper:
    """Return the keeper of a request; ids are request/id.

    Raises:
        LedgerError: it is missing, was changed, or sealed with another key.
    """
    assert request.keeper is not None  # noqa: S101 - asked of requests that have one
    path = ledger.folder / request.keeper.path
    if not path.is_file():
        raise LedgerError(str(path), "the keeper of a request", "no file", "restore it from a backup")
    tensors = load(ledger.keys.open_file(path.read_bytes(), request.name))
    copies = tensors["copies"]
    instances = ledger.instances(request)
    new = [instance.new_label for instance in instances]
    rows = ForgetSet(
        tuple(f"{request.name}/{instance.id}" for instance in instances),
        from_levels(tensors["x"], tensors["x_scale"]),
        torch.tensor([instance.label for instance in instances]),
        torch.tensor(new) if request.goal == "relabel" else None,
    )
    return Keeper(rows, cut, from_levels(copies.flatten(0, 1), tensors["copies_scale"]).view(copies.shape))
