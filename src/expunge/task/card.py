"""The model card of an edited classifier: what it was asked, how to load it, and what that doesn't mean."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.base.disk import write_text
from expunge.base.errors import ExpungeWarning
from expunge.models.classifier import Classifier
from expunge.models.description import Description
from expunge.models.libraries import library_of
from expunge.models.sources.load import names_code
from expunge.task.words import goal_words, part_words

CARD_FILE = "README.md"
TAGS = "tags: [image-classification, machine-unlearning, expunge]"
LOADING = {
    "timm": 'import timm\n\nclassifier = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
    "transformers": (
        "from transformers import AutoImageProcessor, AutoModelForImageClassification\n\n"
        'processor = AutoImageProcessor.from_pretrained("FOLDER")\n'
        'classifier = AutoModelForImageClassification.from_pretrained("FOLDER")'
    ),
}
OWN_LOADING = 'import expunge\n\nclassifier = expunge.Edit.load("FOLDER").classifier'
CODE_LOADING = (
    "import expunge\n\n# runs the function that makes the network, see the architecture above\n"
    'classifier = expunge.Edit.load("FOLDER", allow_code=True).classifier'
)
NETWORK_LOADING = (
    "import expunge\n\n# network: one of this architecture, with any weights\n"
    'classifier = expunge.Edit.load("FOLDER", network).classifier'
)
LIMITS = (
    "A changed answer is no proof of erasure, and shows no compliance with any law. Older copies of the weights, and "
    "the patch between them and these, still hold what was there before."
)


def write_card(classifier: Classifier, description: Description, result: Mapping[str, Any], folder: Path) -> None:
    """Write the card to `folder`; see `make_card`.

    Warns:
        ExpungeWarning: a README.md that isn't such a card is there, and stays.
    """
    if not _has_own_page(folder):
        write_text(folder / CARD_FILE, make_card(classifier, description, result))


def leave_own_page(folder: Path, stage: Path) -> None:
    """Take the card out of `stage` if the README.md of `folder`, which it would replace, is the user's own.

    Warns:
        ExpungeWarning: it is.
    """
    if _has_own_page(folder):
        (stage / CARD_FILE).unlink()


def _has_own_page(folder: Path) -> bool:
    path = folder / CARD_FILE
    if not path.exists() or TAGS in path.read_text("utf-8", errors="replace"):
        return False
    warnings.warn(f"{path} is no model card of an edit: it stays, and none is written", ExpungeWarning, stacklevel=4)
    return True


def make_card(classifier: Classifier, description: Description, result: Mapping[str, Any]) -> str:
    """Return the card as Markdown with a hub's header; no id and no hash of a forgotten image stands in it.

    Args:
        classifier: the edited one.
        description: how it is used.
        result: the content of result.json.
    """
    library = library_of(classifier.network)
    architecture = description.portable_architecture() or type(classifier.network).__name__
    lines = [
        "---",
        f"library_name: {library or 'expunge'}",
        "pipeline_tag: image-classification",
        TAGS,
        "---",
        "",
        "# An edited image classifier",
        "",
        f"Architecture `{architecture}`, {classifier.num_classes} classes, images of "
        f"{' x '.join(map(str, description.shape))} (channels, height, width).",
        "",
        "```python",
        LOADING.get(library or "") or _own_loading(description.portable_architecture()),
        "```",
        "",
        *_unlearned(result),
        "",
        LIMITS,
        "",
        f"Weights SHA-256 `{classifier.sha256()}`.",
    ]
    return "\n".join(lines) + "\n"


def _own_loading(architecture: str | None) -> str:
    if architecture is None:
        return NETWORK_LOADING
    return CODE_LOADING if names_code(architecture) else OWN_LOADING


def _unlearned(result: Mapping[str, Any]) -> list[str]:
    before, after = result["before"], result["after"]
    asked = result["goal"], result["forgotten_class"]
    words = goal_words(*asked)
    robust = result["goal_achieved_robust"]
    copies = "" if robust is None else f"; of transformed copies, {100 * robust:.1f}% {words.held}"
    lines = [
        f"## {words.heading}",
        "",
        f"This classifier was edited without retraining (method `{result['method']}`). It was asked to {words.asked}; "
        f"there are {before['forget']['n']} of them.",
        "",
        *(f"- {sentence}" for sentence in result["verdict"]),
        f"- On the exact pixels, {before['forget']['accuracy']:.1f}% were {words.share} before, and "
        f"{after['forget']['accuracy']:.1f}% are now{copies}.",
    ]
    for name in before:
        if name != "forget":
            old, new = before[name], after[name]
            lines.append(
                f"- Accuracy on {old['n']} {part_words(name, *asked)}: {old['accuracy']:.2f}% before, "
                f"{new['accuracy']:.2f}% after; {new['churn']:.2f}% of the answers changed."
            )
    return lines
