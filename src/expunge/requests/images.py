"""Images of requests, encrypted, until they are no longer needed."""

import hashlib
from collections.abc import Collection

import torch
from safetensors.torch import load, save

from expunge.base.disk import write_bytes
from expunge.base.errors import LedgerError
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, batches
from expunge.models.pixels import Bounds
from expunge.requests.place import IMAGES_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.state import Request, StoredFile

BATCH = 1024


def store_images(ledger: Ledger, request: str, rows: ForgetSet) -> StoredFile:
    """Write the pixels of a request, encrypted, and return the file for the ledger to name."""
    sealed = ledger.keys.seal(save({"x": rows.x.cpu().contiguous()}), request)
    digest = hashlib.sha256(sealed).hexdigest()
    path = f"{IMAGES_FOLDER}/{request}-{digest[:12]}.sealed"
    write_bytes(ledger.folder / path, sealed)
    return StoredFile(path, digest, len(sealed))


def load_rows(ledger: Ledger, request: Request) -> ForgetSet:
    """Return the rows of a request whose images are there; ids are request/id.

    Raises:
        LedgerError: the images are gone, were changed, or sealed with another key.
    """
    if request.images is None:
        raise images_are_gone(request)
    path = ledger.folder / request.images.path
    if not path.is_file():
        raise LedgerError(str(path), "the images of a request", "no file", "restore it, or give them with --again")
    x = load(ledger.keys.open(path.read_bytes(), request.name))["x"]
    instances = ledger.instances(request)
    new = [instance.new_label for instance in instances]
    return ForgetSet(
        tuple(f"{request.name}/{instance.id}" for instance in instances),
        x,
        torch.tensor([instance.label for instance in instances]),
        torch.tensor(new) if request.goal == "relabel" else None,
    )


def images_are_gone(request: Request) -> LedgerError:
    """Return the error for a request that can't be worked on without its images."""
    hint = f"give them once more: expunge requests add --again {request.name}"
    return LedgerError(request.name, "its images", "none: they were deleted", hint)


def hash_images(ledger: Ledger, rows: ForgetSet) -> list[str]:
    """Return the salted hash of each image, over its size and its pixels at 8 bits."""
    levels = Bounds(*ledger.state.created["bounds"]).to_levels(rows.x).cpu()
    shape = f"{tuple(rows.x.shape[1:])}:".encode()
    return [ledger.keys.hash_content(shape + image.numpy().tobytes()) for image in levels]


def find_places(ledger: Ledger, training: Images, wanted: Collection[str]) -> dict[str, list[tuple[int, str]]]:
    """Return rows and ids in the training data of images whose salted hashes are `wanted`: pixels equal at 8 bits.

    Each wanted hash has its list, which is empty where no training image is the same.
    """
    places: dict[str, list[tuple[int, str]]] = {content: [] for content in wanted}
    start, every = 0, training.ids  # once: some images make the list anew
    for x, labels in batches(training, BATCH):
        ids = tuple(every[start : start + len(x)])
        for number, content in enumerate(hash_images(ledger, ForgetSet(ids, x, labels))):
            if content in places:
                places[content].append((start + number, ids[number]))
        start += len(x)
    return places
