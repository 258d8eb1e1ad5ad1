"""The model card of an edited classifier: what it was made to forget, how to load it, and what that doesn't mean."""

from collections.abc import Mapping
from typing import Any

from expunge.models.classifier import Classifier
from expunge.models.description import Description
from expunge.models.libraries import library_of

CARD_FILE = "README.md"
LOADING = {
    "timm": 'import timm\n\nclassifier = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
    "transformers": (
        "from transformers import AutoImageProcessor, AutoModelForImageClassification\n\n"
        'processor = AutoImageProcessor.from_pretrained("FOLDER")\n'
        'classifier = AutoModelForImageClassification.from_pretrained("FOLDER")'
    ),
}
OWN_LOADING = 'import expunge\n\nclassifier = expunge.Edit.load("FOLDER").classifier'
GOALS = {
    "misclassify": "each of them is to be misclassified",
    "relabel": "each of them is to be answered with a given label",
}
LIMITS = (
    "Forgotten means misclassified, or answered with the given label. It is no proof of erasure, and shows no "
    "compliance with any law. Older copies of the weights, and the patch between them and these, still hold what was "
    "removed."
)


def make_card(classifier: Classifier, description: Description, result: Mapping[str, Any]) -> str:
    """Return the card as Markdown with a hub's header; no id and no hash of a forgotten image stands in it.

    Args:
        classifier: the edited one.
        description: how it is used.
        result: the content of result.json.
    """
    library = library_of(classifier.network)
    architecture = description.architecture or type(classifier.network).__name__
    lines = [
        "---",
        f"library_name: {library or 'expunge'}",
        "pipeline_tag: image-classification",
        "tags: [image-classification, machine-unlearning, expunge]",
        "---",
        "",
        "# An edited image classifier",
        "",
        f"Architecture `{architecture}`, {classifier.num_classes} classes, images of "
        f"{' x '.join(map(str, description.shape))} (channels, height, width).",
        "",
        "```python",
        LOADING.get(library or "", OWN_LOADING),
        "```",
        "",
        *_unlearned(result),
        "",
        LIMITS,
        "",
        f"Weights SHA-256 `{classifier.sha256()}`.",
    ]
    return "\n".join(lines) + "\n"


def _unlearned(result: Mapping[str, Any]) -> list[str]:
    before, after = result["before"], result["after"]
    goal = GOALS.get(result["goal"], f"the goal is `{result['goal']}`")
    lines = [
        "## Unlearned instances",
        "",
        f"This classifier was made to forget {before['forget']['n']} training instances without retraining, by "
        f"instance-wise unlearning (method `{result['method']}`): {goal}.",
        "",
        f"- The goal holds for {100 * result['goal_achieved']:.1f}% of them on the exact pixels, and for "
        f"{100 * result['goal_achieved_robust']:.1f}% of transformed copies.",
    ]
    for name in before:
        if name != "forget":
            lines.append(
                f"- Accuracy on {before[name]['n']} {name} images: {before[name]['accuracy']:.2f}% before, "
                f"{after[name]['accuracy']:.2f}% after; {after[name]['churn']:.2f}% of the answers changed."
            )
    return lines
