"""What a goal and its outcome are called; every surface takes these words from here, and none needs torch for them."""

from collections.abc import Iterable
from dataclasses import dataclass

from expunge.base.words import plural

MISCLASSIFY, RELABEL, CORRECT, UNSEEN = "misclassify", "relabel", "correct", "unseen"
CLASS_PART = "class"
"""Of the test images, those of a class that is forgotten as a whole; the part `test` is then the rest."""


@dataclass(frozen=True, slots=True)
class GoalWords:
    """The words of one goal.

    Args:
        line: name of the images' line in a table of accuracies.
        heading: of a section about them.
        rows: what the images are called in a sentence.
        row: one of them.
        asked: what was asked for, as "The classifier was asked to ...".
        share: what their accuracy counts: the share of them that is "answered with ...".
        wanted: what that share should be, in percent; None: as much as of images that were never seen.
        met: what each of them does where the goal holds.
        held: what changed copies do for which the goal holds.
        brittle: what it means if they don't.
        question: what the share for which the goal holds answers.
        returns: what it means if training on other images brings the old answers back at once.
    """

    line: str
    heading: str
    rows: str
    row: str
    asked: str
    share: str
    wanted: float | None
    met: str
    held: str
    brittle: str
    question: str
    returns: str

    @property
    def title(self) -> str:
        """Return what the images are called at the beginning of a sentence."""
        return self.rows[:1].upper() + self.rows[1:]


WORDS = {
    MISCLASSIFY: GoalWords(
        line="forget",
        heading="Unlearned instances",
        rows="forgotten images",
        row="forgotten image",
        asked="answer each of these images with another label than its own",
        share="answered with their label",
        wanted=0.0,
        met="every forgotten image is answered with another label than its own",
        held="stay forgotten",
        brittle="the images are hidden rather than forgotten",
        question="Were the images forgotten?",
        returns="they were only hidden",
    ),
    RELABEL: GoalWords(
        line="relabel",
        heading="Relabelled instances",
        rows="relabelled images",
        row="relabelled image",
        asked="answer each of these images with the new label that was given for it",
        share="answered with their new label",
        wanted=100.0,
        met="every relabelled image is answered with its new label",
        held="keep the new label",
        brittle="the new label holds for these very pixels rather than for the pictures",
        question="Do the images have their new labels?",
        returns="the old labels were only covered",
    ),
    CORRECT: GoalWords(
        line="correct",
        heading="Corrected instances",
        rows="corrected images",
        row="corrected image",
        asked="answer each of these images, which were mistakes, with its true label",
        share="answered with their true label",
        wanted=100.0,
        met="every corrected image is answered with its true label",
        held="stay right",
        brittle="these very pixels were corrected rather than the pictures",
        question="Were the mistakes corrected?",
        returns="the mistakes were only covered",
    ),
    UNSEEN: GoalWords(
        line="forget",
        heading="Unlearned instances",
        rows="forgotten images",
        row="forgotten image",
        asked="be no more certain of each of these images than it is estimated to be had it never seen it",
        share="answered with their label",
        wanted=None,
        met="the label of every forgotten image leads by no more than was estimated for one that was never seen",
        held="lose as much of their lead",
        brittle="the certainty has fallen for these very pixels rather than for the pictures",
        question="Is the classifier as uncertain of the images as if it had never seen them?",
        returns="the certainty was only covered",
    ),
}

OF_ANY_GOAL = GoalWords(
    line="asked about",
    heading="Edited instances",
    rows="images of the edits",
    row="image of the edits",
    asked="answer each of these images otherwise",
    share="answered as before",
    wanted=0.0,
    met="every image is answered as was asked",
    held="are answered as was asked",
    brittle="the answers hold for these very pixels rather than for the pictures",
    question="Were the goals reached?",
    returns="the old answers were only covered",
)
"""The words of several edits with different goals."""


def goal_words(goal: str, forgotten_class: str = "") -> GoalWords:
    """Return the words of a goal; with `forgotten_class`, those of a whole class that is forgotten.

    >>> goal_words("correct").line, goal_words("misclassify", "cat").rows
    ('correct', 'forgotten images of the class cat')
    """
    if not forgotten_class:
        return WORDS[goal]
    return GoalWords(
        line=f"forget class {forgotten_class}",
        heading="Unlearned class",
        rows=f"forgotten images of the class {forgotten_class}",
        row=f"forgotten image of the class {forgotten_class}",
        asked=f"answer no image with the class {forgotten_class} any more",
        share="answered with their class",
        wanted=0.0,
        met=f"no training image of the class {forgotten_class} is answered with it any more",
        held="stay forgotten",
        brittle="the class is hidden rather than forgotten",
        question=f"Was the class {forgotten_class} forgotten?",
        returns="the class was only hidden",
    )


def part_words(part: str, goal: str, forgotten_class: str = "") -> str:
    """Return what the images of a part are called in a sentence.

    >>> part_words("test", "misclassify"), part_words("test", "misclassify", "cat")
    ('test images', 'test images of the other classes')
    """
    if part == "forget":
        return goal_words(goal, forgotten_class).rows
    if part == CLASS_PART:
        return f"test images of the class {forgotten_class}"
    if part == "retain":
        return "other training images"
    return "test images of the other classes" if forgotten_class else "test images"


def line_of(part: str, goal: str, forgotten_class: str = "") -> str:
    """Return the name of a part's line in a table of accuracies.

    >>> line_of("forget", "correct"), line_of("retain", "correct"), line_of("class", "misclassify", "cat")
    ('correct', 'retain', 'test: cat')
    """
    if part == "forget":
        return goal_words(goal, forgotten_class).line
    if part == CLASS_PART:
        return f"test: {forgotten_class}"
    return "test: others" if part == "test" and forgotten_class else part


def named_in(kinds: Iterable[str]) -> list[str]:
    """Return the transforms that kinds name, pairs joined by "+" among them, each once.

    >>> named_in(["mirrored", "noised", "mirrored+noised"])
    ['mirrored', 'noised']
    """
    return list(dict.fromkeys(name for kind in kinds for name in kind.split("+")))


def say_unchanged(unchanged: int, count: int, noun: str = "image") -> str:
    """Return in a sentence for how many images the goal held before the edit, whose answer is the same; empty for none.

    >>> say_unchanged(1, 3)
    'The answer to 1 of 3 images is what it was before: it was answered as asked already. Perhaps its label is wrong.'
    """
    if not unchanged:
        return ""
    they, labels = ("it was", "its label is") if unchanged == 1 else ("they were", "their labels are")
    which = f"{unchanged:,} of {plural(count, noun)}"
    return f"The answer to {which} is what it was before: {they} answered as asked already. Perhaps {labels} wrong."
