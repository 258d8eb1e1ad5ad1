"""The first screen: questions that a reader without technical knowledge has, each with one answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from expunge.audit.record import Audit, Figure
from expunge.report import telling
from expunge.report.words import plural, say_hundredth, visible

FEW_LOST = 1.0
MANY_LOST = 10.0
MOST = 50.0
RUINED = "A ruined classifier answers wrongly, whatever it is shown."
OUTSIDER = ("rmia.", "ulira.", "ulira_edited.", "membership.")


class Mark(StrEnum):
    """How good an answer is; a word and a sign say the same as the colour."""

    GOOD = "good"
    PARTLY = "partly"
    BAD = "bad"
    OPEN = "open"
    """It was not measured."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One question and its answer: a few words, and what a reader should know about them."""

    question: str
    said: str
    more: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What the page says first.

    Args:
        title: the outcome in one short sentence.
        state: the same in one or two words.
        mark: its colour.
        facts: questions with plain answers: what, when, reference, program.
        answers: questions whose answers are good or bad.
        told: the sentences on what the person can be told.
        told_mark: their colour.
        remains: what is left to do.
    """

    title: str
    state: str
    mark: Mark
    facts: tuple[tuple[str, str], ...]
    answers: tuple[Answer, ...]
    told: tuple[str, ...]
    told_mark: Mark
    remains: str


def first_screen(audit: Audit) -> FirstScreen:
    """Return what the page of `audit` says first."""
    goal = telling.WORDS.get(audit.subject.goal, telling.WORDS["misclassify"])
    made = {name: make(audit, goal) for name, make in MAKERS.items()}
    ruined = is_ruined(audit.figures)
    done, cost = made["done"].mark is Mark.GOOD, made["cost"].mark
    reserved = any(answer.mark in (Mark.PARTLY, Mark.OPEN) for answer in made.values())
    count = audit.subject.sizes["forget"]
    outcome = telling.Outcome(
        done=done,
        ruined=ruined,
        costly=cost is Mark.BAD and not ruined,
        copies=made["copies"].mark is Mark.GOOD,
        outsider=made["outsider"].mark is not Mark.PARTLY,
        count=count,
        met=_met(audit),
    )
    failed = ruined or not done or cost is Mark.BAD
    mark = Mark.BAD if failed else Mark.PARTLY if reserved else Mark.GOOD
    state = "Ruined" if ruined else "Not done" if not done else "Too costly" if failed else ""
    told_mark = Mark.BAD if failed else Mark.PARTLY if not (outcome.copies and outcome.outsider) else Mark.GOOD
    return FirstScreen(
        title=telling.title(goal, outcome),
        state=state or ("Done, with reservations" if reserved else "Done"),
        mark=mark,
        facts=_facts(audit, goal),
        answers=tuple(made.values()),
        told=telling.tell(goal, outcome),
        told_mark=told_mark,
        remains=telling.remains(goal, outcome),
    )


def is_ruined(figures: Mapping[str, Figure]) -> bool:
    """Return whether the classifier is good for nothing any more.

    That is so where it lost half of what it got right, or gives one and the same answer to most pictures.
    """
    before, after = _accuracies(figures)[1:]
    largest = figures.get("answers.largest_share")
    collapsed = largest is not None and largest.value is not None and bool(largest.flagged) and largest.value > MOST
    return collapsed or (before is not None and after is not None and after < before / 2)


def _facts(audit: Audit, goal: telling.GoalWords) -> tuple[tuple[str, str], ...]:
    subject = audit.subject
    method = f", method {visible(subject.method)}" if subject.method else ""
    return (
        ("What was asked?", goal.asked.format(pictures=plural(subject.sizes["forget"], "picture"))),
        ("When was it done?", say_time(subject.finished) if subject.finished else "The date was not recorded."),
        ("Under which reference?", visible(subject.reference) if subject.reference else "None was given."),
        ("With which program?", f"expunge {visible(audit.version)}{method}"),
    )


def say_time(text: str) -> str:
    """Return an ISO time as people write it; `text` itself if it is none.

    >>> say_time("2026-03-05T14:07:31+00:00")
    '5 March 2026, 14:07 UTC'
    """
    try:
        time = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return visible(text)
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def _met(audit: Audit) -> int:
    exact = audit.figures["goal.exact"].value or 0.0
    return round(exact * audit.subject.sizes["forget"] / 100)


def _done(audit: Audit, goal: telling.GoalWords) -> Answer:
    count, met = audit.subject.sizes["forget"], _met(audit)
    if is_ruined(audit.figures):
        more = f"It is true that {goal.met(met, count)}, but so have most other pictures now."
        return Answer("Was it done?", "No, the classifier is ruined", more, Mark.BAD)
    mark = Mark.GOOD if audit.figures["goal.exact"].value == 100 else Mark.BAD
    said = f"Yes, {goal.met(met, count)}" if mark is Mark.GOOD else f"No, {goal.met(met, count)}"
    return Answer("Was it done?", said, "Counted one by one; they are shown below.", mark)


def _copies(audit: Audit, goal: telling.GoalWords) -> Answer:
    question, figure = "Does it hold for changed copies?", audit.figures["goal.robust"]
    if figure.value is None:
        return Answer(question, "Not measured", figure.reason or "", Mark.OPEN)
    if is_ruined(audit.figures):
        return Answer(question, "That says nothing now", RUINED, Mark.OPEN)
    said = f"For {say_hundredth(figure.value)} of 100 copies"
    more = "Copies were mirrored, shifted, resized, compressed anew or made a little noisy."
    bad = Mark.PARTLY if _met(audit) else Mark.BAD
    return Answer(question, said, more, bad if figure.flagged else Mark.GOOD)


def _cost(audit: Audit, goal: telling.GoalWords) -> Answer:
    question = "What did it cost everyone else?"
    part, before, after = _accuracies(audit.figures)
    if before is None or after is None:
        return Answer(question, "Not measured", "There were no other pictures to measure on.", Mark.OPEN)
    churn = audit.figures.get(f"churn.{part}")
    changed = None if churn is None else churn.value
    said = f"From {say_hundredth(before)} to {say_hundredth(after)} of 100 pictures right"
    kind = "that it had never seen" if part == "test" else "that it was trained on; there were no others"
    more = f"Measured on {plural(audit.subject.sizes[part], 'other picture')} {kind}."
    if changed is not None:
        more += f" {say_hundredth(changed)} of 100 answers changed."
    if is_ruined(audit.figures):
        return Answer(question, said, f"{more} Nobody can use such a classifier.", Mark.BAD)
    lost = before - after
    flagged = lost > FEW_LOST or (churn is not None and bool(churn.flagged))
    return Answer(question, said, more, Mark.BAD if lost > MANY_LOST else Mark.PARTLY if flagged else Mark.GOOD)


def _outsider(audit: Audit, goal: telling.GoalWords) -> Answer:
    question = "Can an outsider pick the pictures out?"
    found = strongest_attack(audit.figures)
    if found is None:
        return Answer(question, "Not measured", "There were no unseen pictures to compare with.", Mark.OPEN)
    figure, share = found
    said = f"In {say_hundredth(share)} of 100 tries; guessing gives 50"
    more = "A try: of one of these pictures and one that was never used, name the one that was."
    return Answer(question, said, more, Mark.PARTLY if figure.flagged else Mark.GOOD)


def strongest_attack(figures: Mapping[str, Figure]) -> tuple[Figure, float] | None:
    """Return the attack that tells most after the edit, and its percent of right guesses; None if none was made.

    An attack that is nearly always wrong tells as much as one that is nearly always right.
    """
    attacks = [
        (figure, max(100 * figure.value, 100 - 100 * figure.value))
        for name, figure in figures.items()
        if figure.unit == "AUC" and figure.value is not None and name.startswith(OUTSIDER) and "before" not in name
    ]
    return max(attacks, key=lambda attack: attack[1], default=None)


def _accuracies(figures: Mapping[str, Figure]) -> tuple[str, float | None, float | None]:
    """Return the best part that was measured, and percent right before and after on it."""
    for part in ("test", "retain"):
        both = [figures.get(f"accuracy.{part}_{when}") for when in ("before", "after")]
        before, after = (None if each is None else each.value for each in both)
        if before is not None and after is not None:
            return part, before, after
    return "test", None, None


MAKERS: Mapping[str, Callable[[Audit, telling.GoalWords], Answer]] = {
    "done": _done,
    "copies": _copies,
    "cost": _cost,
    "outsider": _outsider,
}
