"""The newest classifier for others, with what was unlearned."""

from collections.abc import Sequence
from pathlib import Path

from expunge.base.errors import LedgerError
from expunge.base.folders import output_folder
from expunge.models.description import Description
from expunge.models.export import Exported, export_classifier
from expunge.requests.card import CARD_FILE, write_card
from expunge.requests.project import Ledger
from expunge.requests.weights import load_first, read_current, with_weights


def export_newest(
    ledger: Ledger,
    out: Path,
    formats: Sequence[str],
    *,
    shape: tuple[int, int, int] | None = None,
    overwrite: bool = False,
) -> tuple[list[Exported], Path]:
    """Write the newest classifier in these formats, each checked for equal outputs, and the section of its model card.

    Args:
        ledger: every entry is checked.
        out: folder for the files, made if missing.
        formats: names of `expunge.models.export.FORMATS`.
        shape: (c, h, w) of an image, where there is no request to tell it.
        overwrite: replace files there.

    Raises:
        LedgerError: an entry was changed, or nothing tells the shape.
        OutputError: the folder isn't empty, or can't be written to.
    """
    ledger.check()
    loaded = load_first(ledger)
    classifier = with_weights(loaded.classifier, read_current(ledger))
    size = shape or ledger.state.shape
    if size is None:
        raise LedgerError("--shape", "the shape C,H,W of an image", "none, and no request to tell it")
    description = Description(size, loaded.preprocessing, loaded.architecture)
    with output_folder(out, overwrite=overwrite, result=CARD_FILE):
        exported = list(export_classifier(classifier, description, out, formats))
        return exported, write_card(ledger, exported, out)
