"""What the first screen says of each goal: what was asked, what came of it, what a person can be told, what remains."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from expunge.audit.record import Subject
from expunge.base.visible import visible
from expunge.base.words import plural
from expunge.task.words import CORRECT, MISCLASSIFY, RELABEL, UNSEEN, say_unchanged

LEFT = "It does not mean that the pictures are gone: they are still wherever else they are kept, and in older versions"
LEFT_AND_BACKUPS = f"{LEFT} of the classifier and backups."
NO_PROOF = "It does not prove that no trace is left inside the classifier, or that a law is complied with."
DELETE = (
    "Put the edited classifier in place of the old one. Delete the pictures, older versions of the classifier, backups "
    "and this page's pictures, unless there is a reason to keep them."
)


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
    """

    asked: str
    done: str
    state: str
    still: str
    forgets: bool = True
    now: str = "get other answers"
    old: str = "the old answer"

    def met(self, met: int, count: int) -> str:
        """Return for how many pictures it was done."""
        pictures = f"all {count:,} pictures" if met == count > 1 else plural(count, "picture")
        if met == count:
            return f"{pictures} {'has' if count == 1 else 'have'} {self.state}"
        return f"only {met:,} of {pictures} {'has' if met == 1 else 'have'} {self.state}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of an edit, as far as a person can be told of it."""

    done: bool
    ruined: bool
    costly: bool
    copies: bool
    outsider: bool
    count: int
    met: int
    unchanged: int = 0
    """Pictures that were answered as asked before the edit, and have that answer still."""


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
        return "The pictures have the answers that they had before"
    if found.unchanged:
        left = found.count - found.unchanged
        subject = f"{left:,} of {found.count:,} {what}s {_verb(left, 'are', 'is')}"
    if found.costly:
        return f"{subject} {goal.done}, at too high a cost"
    return f"{subject} {goal.done}{'' if found.copies else ', but not every changed copy'}"


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
            "It means that the classifier now gives the right answer on the very pictures"
            + (", and on slightly changed copies of them." if found.copies else ", but not on every changed copy."),
            "It does not mean that the pictures are gone: the classifier learned them better than before.",
            "It does not prove that other mistakes are rarer, or that a law is complied with.",
        )
    return (_permission(found), _meaning(goal, found), LEFT_AND_BACKUPS, NO_PROOF)


def remains(goal: Telling, found: Findings) -> str:
    """Return what is left to do."""
    if found.ruined or found.costly:
        return (
            "Do not use the edited classifier. Keep the old one, and repeat the edit with another method or settings."
        )
    if not found.done:
        return "Repeat the edit, with more steps or another method. Until then the request is open."
    return DELETE if goal.forgets else "Put the edited classifier in place of the old one, and tell who asked."


def _permission(found: Findings) -> str:
    fact = "that the classifier no longer answers as it had learned from the pictures"
    same = say_unchanged(found.unchanged, found.count, "picture")
    if found.unchanged == found.count:
        return f"No: nothing was changed. {same}"
    if found.unchanged:
        which = f"of {found.count - found.unchanged:,} of {plural(found.count, 'picture')}"
        return f"Only in part: {which} the person can be told {fact}, with what follows. {same}"
    if found.copies and found.outsider:
        return f"Yes, in these words: {fact}."
    return f"Only in part: the person can be told {fact}, with what follows."


def _meaning(goal: Telling, found: Findings) -> str:
    if not found.copies:
        return (
            "It means that the very pictures are hidden rather than forgotten: a copy that is resized or mirrored may "
            f"bring {goal.old} back."
        )
    if not found.outsider:
        return (
            f"It means that the very pictures and slightly changed copies {goal.now}; an outsider who has them can "
            "still find out that they were used."
        )
    return f"It means that the very pictures and slightly changed copies of them {goal.now} now."


def _verb(count: int, several: str, one: str) -> str:
    return one if count == 1 else several
