"""What the first screen says of each goal: what was asked, what came of it, what a person can be told, what remains."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from expunge.audit.record import Subject
from expunge.base.visible import visible
from expunge.base.words import plural
from expunge.task.words import CORRECT, MISCLASSIFY, RELABEL, UNSEEN, say_unchanged

LEFT = "It does not mean that the pictures are gone: they are still wherever else they are kept, and in older versions"
LEFT_AND_BACKUPS = f"{LEFT} of the classifier and backups."
NO_PROOF = "It does not prove that no trace is left inside the classifier, or that a law is complied with."
DELETE = (
    "Put the edited classifier in place of the old one. Delete the pictures, older versions of the classifier, backups "
    "and any pictures on this page, unless there is a reason to keep them."
)
HALF = 50.0


class Mark(StrEnum):
    """How good an answer is; a word and a sign say the same as the colour."""

    GOOD = "good"
    PARTLY = "partly"
    BAD = "bad"
    OPEN = "open"
    """It was not measured."""


@dataclass(frozen=True, slots=True)
class Telling:
    """The words for one goal.

    Args:
        asked: what was asked, with what the words mean; {pictures} stands for the count.
        done: what has become of a picture for which it was done.
        state: what it has now.
        still: what another still gets.
        forgets: whether somebody's pictures were to be forgotten, rather than put right.
        now: what the pictures do since.
        old: what a changed copy may bring back.
        fact: what the person can be told, where all went well.
    """

    asked: str
    done: str
    state: str
    still: str
    forgets: bool = True
    now: str = "get other answers"
    old: str = "the old answer"
    fact: str = "that the classifier no longer answers as it had learned from the pictures"

    def met(self, met: int, count: int) -> str:
        """Return for how many pictures it was done."""
        pictures = f"all {count:,} pictures" if met == count > 1 else plural(count, "picture")
        if met == count:
            return f"{pictures} {'has' if count == 1 else 'have'} {self.state}"
        if not met:
            return f"{'the picture does not have' if count == 1 else f'none of {pictures} has'} {self.state}"
        return f"only {met:,} of {pictures} {'has' if met == 1 else 'have'} {self.state}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of an edit, as far as a person can be told of it.

    Args:
        done: whether it was done as asked.
        ruined: whether the classifier can't be used at all.
        costly: whether too much else is wrong since.
        copies: whether it holds for changed copies.
        held: the percentage of changed copies for which it does.
        outsider: whether one who has the new version only can't tell the pictures.
        owner: whether one who has the old version, too, can.
        class_left: whether other pictures of a class that was to go are still answered with it.
        count: of the pictures.
        met: those for which it was done.
        unchanged: those that were answered as asked before the edit, and have that answer still.
    """

    done: bool
    ruined: bool
    costly: bool
    copies: Mark
    held: float
    outsider: Mark
    owner: bool
    class_left: bool
    count: int
    met: int
    unchanged: int = 0

    @property
    def is_shown(self) -> bool:
        """Return whether all that can be measured was, and is good."""
        good = self.copies is Mark.GOOD and self.outsider is Mark.GOOD
        return good and not (self.owner or self.class_left or self.unchanged)


WORDS: Mapping[str, Telling] = {
    MISCLASSIFY: Telling(
        "Make the classifier, the program that says what a picture shows, forget {pictures}: give each another answer "
        "than the one it had learned.",
        "forgotten",
        "another answer",
        "the answer that was to be forgotten",
    ),
    RELABEL: Telling(
        "Make the classifier, the program that says what a picture shows, forget what it had learned of {pictures}, "
        "and give each the new answer that was asked for.",
        "relabelled",
        "the new answer",
        "another answer than the new one",
    ),
    CORRECT: Telling(
        "Put right the mistakes that the classifier, the program that says what a picture shows, makes on {pictures}: "
        "give each its right answer.",
        "put right",
        "the right answer",
        "a wrong answer",
        forgets=False,
    ),
    UNSEEN: Telling(
        "Make the classifier, the program that says what a picture shows, as uncertain of {pictures} as it is "
        "estimated to be had it never seen them. It may still give their label, as it does for other such pictures.",
        "answered with no more certainty than asked",
        "an answer no more certain than was estimated for a picture never seen",
        "an answer that is too certain",
        now="get answers no more certain than those that pictures never seen are estimated to get",
        old="the old certainty",
        fact="that the classifier is no more certain of the pictures than it is estimated to be of ones that it never "
        "saw, and may still give the same answer",
    ),
}


def words_of(subject: Subject) -> Telling:
    """Return the words for what was asked."""
    words = WORDS.get(subject.goal, WORDS[MISCLASSIFY])
    if not subject.forgotten_class:
        return words
    asked = (
        "Make the classifier, the program that says what a picture shows, forget a whole class by its {pictures}: "
        f"never answer “{visible(subject.forgotten_class)}” again."
    )
    return replace(words, asked=asked)


def title(goal: Telling, found: Findings) -> str:
    """Return the outcome in one short sentence."""
    if found.ruined:
        return "The edited classifier is ruined"
    what = "picture" if goal.forgets else "mistake"
    if found.met in (0, found.count):
        subject = f"The {what} is" if found.count == 1 else f"The {found.count:,} {what}s are"
    else:
        left = found.count - found.met
        subject = f"{left:,} of {found.count:,} {what}s {_verb(left, 'are', 'is')}"
    if not found.done:
        return f"{subject} not {goal.done}"
    if found.unchanged == found.count:
        what, have, they = ("picture", "has", "it") if found.count == 1 else ("pictures", "have", "they")
        return f"The {what} {have} the answer{'' if found.count == 1 else 's'} that {they} had before"
    if found.unchanged:
        left = found.count - found.unchanged
        subject = f"{left:,} of {found.count:,} {what}s {_verb(left, 'are', 'is')}"
    if found.costly:
        return f"{subject} {goal.done}, at too high a cost"
    return f"{subject} {goal.done}{_but(found)}"


def _but(found: Findings) -> str:
    """Return what the title must not leave out."""
    if found.class_left:
        return ", but the class is still named"
    if found.copies is Mark.OPEN:
        return "; changed copies were not measured"
    if found.copies is Mark.GOOD:
        return ""
    if not found.held:
        return ", but no changed copy is"
    return ", but most changed copies are not" if found.held < HALF else ", but not every changed copy"


def tell(goal: Telling, found: Findings) -> tuple[str, ...]:
    """Return what the person can be told, what that means, and what it does not, in four sentences."""
    if found.ruined or found.costly:
        return (
            "No: the edited classifier gives too many wrong answers to be used.",
            "As long as the old one stays in use, nothing has changed for the pictures, so nothing is done yet.",
            LEFT_AND_BACKUPS,
            NO_PROOF,
        )
    if not found.done:
        left = found.count - found.met
        return (
            "No: changed copies of the pictures still get " + goal.still + "."
            if not left
            else f"No: {left:,} of {plural(found.count, 'picture')} still {_verb(left, 'get', 'gets')} {goal.still}.",
            f"As long as that is so, nothing may be called deleted or {goal.done}.",
            LEFT_AND_BACKUPS,
            NO_PROOF,
        )
    if not goal.forgets:
        return (
            "No, since nothing was to be deleted: the person can be told that the wrong answers were put right.",
            f"It means that the classifier now gives the right answer on the very pictures{_right_copies(found)}.",
            "It does not mean that the pictures are gone: the classifier learned them better than before.",
            "It does not prove that other mistakes are rarer, or that a law is complied with.",
        )
    return (_permission(goal, found), _meaning(goal, found), LEFT_AND_BACKUPS, NO_PROOF)


def remains(goal: Telling, found: Findings) -> str:
    """Return what is left to do."""
    if found.ruined or found.costly:
        return (
            "Do not use the edited classifier. Keep the old one, and repeat the edit with another method or settings."
        )
    if not found.done:
        return "Repeat the edit, with more steps or another method. Until then the request is open."
    if found.unchanged == found.count:
        return "Nothing was changed. Check the labels, and ask again if they are wrong."
    return DELETE if goal.forgets else "Put the edited classifier in place of the old one, and tell who asked."


def _right_copies(found: Findings) -> str:
    if found.copies is Mark.GOOD:
        return ", and on slightly changed copies of them"
    return ", but not on every changed copy" if found.copies is Mark.PARTLY else "; changed copies were not measured"


def _permission(goal: Telling, found: Findings) -> str:
    same = say_unchanged(found.unchanged, found.count, "picture")
    if found.unchanged == found.count:
        return f"No: nothing was changed. {same}"
    if found.unchanged:
        which = f"of {found.count - found.unchanged:,} of {plural(found.count, 'picture')}"
        return f"Only in part: {which} the person can be told {goal.fact}, with what follows. {same}"
    if found.is_shown:
        return f"Yes, in these words: {goal.fact}."
    return f"Only in part: the person can be told {goal.fact}, with what follows."


def _of_pictures(goal: Telling, copies: Mark) -> str:
    if copies is Mark.GOOD:
        return f"the very pictures and slightly changed copies of them {goal.now} now"
    if copies is Mark.OPEN:
        return f"the very pictures {goal.now} now; whether slightly changed copies do was not measured"
    hidden = "the very pictures are hidden rather than forgotten"
    return f"{hidden}: a copy that is changed a little may bring {goal.old} back"


def _meaning(goal: Telling, found: Findings) -> str:
    if found.unchanged == found.count:
        return "So nothing is different for the pictures."
    parts = [_of_pictures(goal, found.copies)]
    if found.class_left:
        parts.append("other pictures of the class are still answered with it")
    if found.outsider is Mark.PARTLY:
        parts.append("an outsider who has them can still find out that they were used")
    elif found.outsider is Mark.OPEN:
        parts.append("whether an outsider can find out that they were used is not known")
    if found.owner:
        parts.append("somebody who has the old version, too, can tell which they are")
    return f"It means that {'; '.join(parts)}."


def _verb(count: int, several: str, one: str) -> str:
    return one if count == 1 else several
