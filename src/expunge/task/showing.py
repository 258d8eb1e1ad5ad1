"""What notebooks show of an edit: what came out, and the answers before and after with their pictures."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from expunge.base.html import table
from expunge.data.reading import CHANNELS
from expunge.models.pixels import Bounds

if TYPE_CHECKING:
    from expunge.task.edit import Edit

SHOWN = 12
PICTURE_PIXELS = 64


def show_edit(edit: "Edit") -> str:
    """Return a table of what came out, and one of the first images: label, answer before and after, picture."""
    rows = edit.task.forget_set
    found = edit.predict_forget_set()
    first = range(min(SHOWN, len(rows)))
    facts = [
        ("goal", f"{edit.task.goal.name}, {edit.task.strength.value}: {100 * edit.goal_achieved:.0f}% of the images"),
        ("predicted as labelled", f"{found.before.accuracy:.0f}% before, {found.after.accuracy:.0f}% after"),
        ("method", f"{edit.method}, {edit.steps} steps, {edit.cost.seconds:.1f} s: {edit.stop_reason.value}"),
    ]
    if edit.expected is not None:
        facts.append(("other answers expected to change", f"{edit.expected.churn:.1f}%"))
    lines = []
    for row in first:
        before, after = (
            f"{_name(edit, int(each.predicted[row]))} ({100 * float(each.confidence[row]):.0f}%)"
            for each in (found.before, found.after)
        )
        held = "yes" if edit.achieved[row] else "no"
        lines.append((rows.ids[row], _name(edit, int(rows.y[row])), before, after, held))
    head = ("image", "label", "before", "after", "goal holds")
    more = f"<p>and {len(rows) - len(first)} more</p>" if len(rows) > len(first) else ""
    pictures = _pictures(rows.x[: len(first)], rows.ids, edit.task.classifier.bounds)
    return f"{table((), facts)}{table(head, lines)}{pictures}{more}"


def _name(edit: "Edit", label: int) -> str:
    names = edit.task.classifier.class_names
    return names[label] if names else str(label)


def _pictures(x: Tensor, ids: Sequence[str], bounds: Bounds) -> str:
    """Return the images side by side, "" if they are no pictures."""
    if x.shape[1] not in CHANNELS:
        return ""
    return "<div>" + "".join(_picture(image, name, bounds) for image, name in zip(x, ids, strict=False)) + "</div>"


def _picture(image: Tensor, name: str, bounds: Bounds) -> str:
    levels = bounds.to_levels(image.cpu()).permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).save(stream, "PNG")
    code = base64.b64encode(stream.getvalue()).decode("ascii")
    style = f"height:{PICTURE_PIXELS}px;margin:2px;image-rendering:pixelated"
    return f'<img src="data:image/png;base64,{code}" title="{escape(name)}" style="{style}">'
