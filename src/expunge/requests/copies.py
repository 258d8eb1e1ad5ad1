"""Copies of pictures in the training set: an index that is made once, and the nearest pictures in it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from safetensors.numpy import load, save
from torch import Tensor

from expunge.audit.collect.features import gather_features
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.base.disk import make_folder, write_bytes
from expunge.base.errors import LedgerError
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, TensorImages, batches
from expunge.models.classifier import Classifier
from expunge.requests.fingerprints import BYTES, FEWEST_BITS, NEAR, fingerprint
from expunge.requests.images import hash_images
from expunge.requests.outlines import correlate, outline
from expunge.requests.place import INDEX_FOLDER
from expunge.requests.project import Ledger

BATCH = 1024
SAMPLE = 64
"""Training images whose pixels tell whether an index is of these images."""
SHORT_LIST = 20
"""Candidates of each picture for which the classifier's features are compared."""
BITS = 14
"""Perceptual hashes that differ in at most so many of 128 bits are looked at."""
ALIKE = 0.93
"""Outlines of two pictures that correlate so are taken for copies."""
ALIKE_FEATURES, WITH_FEATURES = 0.95, 0.8
"""Features whose cosine is so large, with outlines that correlate so, are taken for copies, too."""


@dataclass(frozen=True, slots=True)
class CopyIndex:
    """What is known of n training images.

    Args:
        images: they themselves, for their pictures.
        contents: (n, 32) salted hashes of the pixels.
        prints: (n, 16) perceptual hashes.
        outlines: (n, 256) coarse outlines.
    """

    images: Images
    contents: NDArray[np.uint8]
    prints: NDArray[np.uint8]
    outlines: UInt8[Tensor, "n 256"]


@dataclass(frozen=True, slots=True)
class Near:
    """A training image near to a picture.

    Args:
        row: of the training images.
        id: its name there.
        label: its label.
        same: whether the pixels are equal.
        bits: in which the perceptual hashes differ, of 128.
        correlation: of the outlines, -1..1, at the best shift and size.
        features: cosine of the classifier's features (-1..1), their mean taken off; None if there are none.
    """

    row: int
    id: str
    label: int
    same: bool
    bits: int
    correlation: float
    features: float | None

    @property
    def certain(self) -> bool:
        """Return whether it is the same picture, or so near that it is hardly another."""
        return self.same or self.bits <= NEAR

    @property
    def alike(self) -> bool:
        """Return whether it looks like a copy; a person decides."""
        by_features = self.features is not None and self.features >= ALIKE_FEATURES
        near = self.correlation >= ALIKE or (by_features and self.correlation >= WITH_FEATURES)
        return self.certain or near


def open_index(ledger: Ledger, images: Images, runtime: Runtime) -> CopyIndex:
    """Return the index of the training images, from the project's folder if it is there, or made and kept, sealed.

    Args:
        ledger: for its key and folder.
        images: the training images, each loaded once.
        runtime: shows the progress.
    """
    name = _name_of(ledger, images)
    path = ledger.folder / INDEX_FOLDER / f"{name}.sealed"
    if path.is_file():
        found = load(ledger.keys.open_file(path.read_bytes(), name))
        return CopyIndex(images, found["contents"], found["prints"], torch.from_numpy(found["outlines"]))
    index = _make(ledger, images, runtime)
    parts = {"contents": index.contents, "prints": index.prints, "outlines": index.outlines.numpy()}
    make_folder(path.parent)
    write_bytes(path, ledger.keys.seal_file(save(parts), name))
    return index


def find_near(
    index: CopyIndex, ledger: Ledger, rows: ForgetSet, classifier: Classifier, runtime: Runtime, *, count: int = 5
) -> list[list[Near]]:
    """Return for each row the nearest training images, best first; rows of the training set are not left out.

    Candidates have the best correlations of outlines, or the nearest perceptual hashes. Equal pixels come first, then
    the others by correlation. The features of the classifier are compared for the candidates alone.

    Args:
        index: of the training images.
        ledger: for its salt.
        rows: what is looked for.
        classifier: whose features are compared.
        runtime: device and batch size.
        count: how many for each row; those that are certain are never left out.
    """
    values, places = correlate(rows.x, index.outlines, SHORT_LIST)
    ids, labels = index.images.ids, index.images.labels  # once: some images make the list anew
    found = []
    for row, content in enumerate(hash_images(ledger, rows)):
        x = rows.x[row : row + 1]
        same = (index.contents == np.frombuffer(bytes.fromhex(content), dtype=np.uint8)).all(axis=1)
        bits = _bits(index, x)
        nearest = [place for place in np.argsort(bits, kind="stable")[:SHORT_LIST] if bits[place] <= BITS]
        likeness = dict(zip(places[row].tolist(), values[row].tolist(), strict=True))
        others = {int(place) for place in (*nearest, *np.flatnonzero(same | (bits <= NEAR)))} - set(likeness)
        likeness |= _correlations(index, x, sorted(others))
        found.append(_first(_ordered(ids, labels, likeness, bits, same), SHORT_LIST))
    return [_first(part, count) for part in _with_features(index, rows, found, classifier, runtime)]


def _first(near: Sequence[Near], count: int) -> list[Near]:
    """Return so many, and all others that are certain."""
    return [one for place, one in enumerate(near) if place < count or one.certain]


def _ordered(
    ids: Sequence[str],
    labels: Int[Tensor, " n"],
    likeness: dict[int, float],
    bits: NDArray[np.int64],
    same: NDArray[np.bool_],
) -> list[Near]:
    near = [
        Near(
            row=place,
            id=ids[place],
            label=int(labels[place]),
            same=bool(same[place]),
            bits=int(bits[place]),
            correlation=round(value, 4),
            features=None,
        )
        for place, value in likeness.items()
    ]
    return sorted(near, key=lambda one: (not one.same, -one.correlation))


def _with_features(
    index: CopyIndex, rows: ForgetSet, found: list[list[Near]], classifier: Classifier, runtime: Runtime
) -> list[list[Near]]:
    """Return the same with the cosine of features, of the picture or its mirror image."""
    wanted = sorted({one.row for part in found for one in part})
    sample = _spread(len(index.images.labels), SAMPLE)
    pixels = torch.cat([rows.x.cpu(), rows.x.cpu().flip(-1), index.images.load([*wanted, *sample])])
    features = _features(classifier, pixels, runtime)
    if features is None:
        return found
    features = F.normalize(features - features[-len(sample) :].mean(dim=0), dim=1)
    place = {row: 2 * len(rows) + number for number, row in enumerate(wanted)}
    return [
        [
            Near(*_fields(one), round(float((features[[row, row + len(rows)]] @ features[place[one.row]]).max()), 4))
            for one in part
        ]
        for row, part in enumerate(found)
    ]


def _fields(one: Near) -> tuple[int, str, int, bool, int, float]:
    return one.row, one.id, one.label, one.same, one.bits, one.correlation


def _features(classifier: Classifier, x: Float[Tensor, "n c h w"], runtime: Runtime) -> Float[Tensor, "n d"] | None:
    ids = tuple(str(row) for row in range(len(x)))
    images = TensorImages(ids, torch.zeros(len(x), dtype=torch.int64), x)
    try:
        return torch.from_numpy(gather_features(classifier, images, runtime, "compare"))
    except NotDefinedError:
        return None


def _bits(index: CopyIndex, x: Float[Tensor, "1 c h w"]) -> NDArray[np.int64]:
    """Return in how many bits each hash differs from the picture's or its mirror image's; 128 for plain ones."""
    sides = [np.bitwise_count(index.prints ^ fingerprint(side)).sum(axis=1) for side in (x, x.flip(-1))]
    telling = np.bitwise_count(index.prints).sum(axis=1) >= FEWEST_BITS
    nearest: NDArray[np.int64] = np.where(telling, np.minimum(*sides), 8 * BYTES).astype(np.int64)
    return nearest


def _correlations(index: CopyIndex, x: Float[Tensor, "1 c h w"], places: Sequence[int]) -> dict[int, float]:
    if not places:
        return {}
    values, order = correlate(x, index.outlines[torch.as_tensor(places)], len(places))
    return {places[number]: value for number, value in zip(order[0].tolist(), values[0].tolist(), strict=True)}


def _make(ledger: Ledger, images: Images, runtime: Runtime) -> CopyIndex:
    contents, prints, outlines = [], [], []
    start, every = 0, images.ids  # once: some images make the list anew
    with runtime.progress.phase("index", len(images.labels)) as advance:
        for x, labels in batches(images, BATCH):
            ids = tuple(every[start : start + len(x)])
            contents += hash_images(ledger, ForgetSet(ids, x, labels))
            prints.append(fingerprint(x))
            outlines.append(outline(x))
            start += len(x)
            advance(len(x))
    salted = np.frombuffer(bytes.fromhex("".join(contents)), dtype=np.uint8).reshape(-1, 32)
    return CopyIndex(images, salted, np.concatenate(prints), torch.cat(outlines))


def _name_of(ledger: Ledger, images: Images) -> str:
    """Return a name that changes with the ids, the labels, and the pixels of a sample.

    Raises:
        LedgerError: there are no images.
    """
    if not len(images.labels):
        raise LedgerError("--against", "training images", "none")
    digest = hashlib.sha256("\n".join(images.ids).encode())
    digest.update(np.ascontiguousarray(images.labels.numpy()).tobytes())
    digest.update(images.load(_spread(len(images.labels), SAMPLE)).numpy().tobytes())
    return ledger.keys.hash_content(digest.digest())[:32]


def _spread(count: int, wanted: int) -> list[int]:
    """Return so many rows spread over `count`, or all.

    >>> _spread(10, 3), _spread(2, 3)
    ([0, 4, 9], [0, 1])
    """
    return [round(place) for place in np.linspace(0, count - 1, min(wanted, count)).tolist()]
