"""The first screen: questions that a reader without technical knowledge has, each with one answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from expunge.audit.record import WHEN, Audit, Figure
from expunge.base.visible import visible
from expunge.base.words import plural, say_list
from expunge.report import telling
from expunge.report.telling import Mark
from expunge.report.words import say_hundredth
from expunge.task.outcome import Outcome
from expunge.task.words import named_in, say_unchanged

FEW_LOST = 1.0
MANY_LOST = 10.0
COUNTED = "Counted one by one; they are listed below."
FEWEST = 5
"""Pictures that an outsider is tried on: among fewer, an attack has to be right in five of six tries to beat luck."""
FEW = 100
"""Pictures up to which they are counted, not given as so many of 100."""
CHANGES = {
    "mirrored": "mirrored",
    "shifted": "shifted",
    "resized": "resized",
    "recompressed": "compressed anew",
    "noised": "made a little noisy",
}
"""What usual copies are, by the name of the transform."""
SHORT_OF_COPIES = "It was to hold for changed copies, too, and does not for enough of them."
RUINED = "A ruined classifier answers wrongly, whatever it is shown."


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
    goal = telling.words_of(audit.subject)
    made = {name: make(audit, goal) for name, make in MAKERS.items()}
    ruined = audit.outcome is Outcome.RUINED
    done, cost = made["done"].mark is not Mark.BAD, made["cost"].mark
    reserved = any(answer.mark in (Mark.PARTLY, Mark.OPEN) for answer in made.values())
    count = audit.subject.sizes["forget"]
    found = telling.Findings(
        done=done,
        ruined=ruined,
        costly=cost is Mark.BAD and not ruined,
        copies=made["copies"].mark,
        held=audit.figures["goal.robust"].value or 0.0,
        outsider=_found_by_outsider(audit),
        owner=bool(_owner_of_both(audit)),
        class_left=made["done"].mark is Mark.PARTLY and not _unchanged(audit),
        count=count,
        met=_met(audit),
        unchanged=_unchanged(audit),
    )
    failed = ruined or not done or cost is Mark.BAD
    mark = Mark.BAD if failed else Mark.PARTLY if reserved else Mark.GOOD
    state = "Ruined" if ruined else "Not done" if not done else "Too costly" if failed else ""
    told_mark = Mark.BAD if failed else Mark.GOOD if found.is_shown else Mark.PARTLY
    return FirstScreen(
        title=telling.title(goal, found),
        state=state or ("Done, with reservations" if reserved else "Done"),
        mark=mark,
        facts=_facts(audit, goal),
        answers=tuple(made.values()),
        told=telling.tell(goal, found),
        told_mark=told_mark,
        remains=telling.remains(goal, found),
    )


def _facts(audit: Audit, goal: telling.Telling) -> tuple[tuple[str, str], ...]:
    subject = audit.subject
    method = f", method {visible(subject.method)}" if subject.method else ""
    return (
        ("What was asked?", goal.asked.replace("{pictures}", plural(subject.sizes["forget"], "picture"))),
        ("When was it done?", say_date(subject.finished) if subject.finished else "The date was not recorded."),
        ("Under which reference?", visible(subject.reference) if subject.reference else "None was given."),
        ("With which program?", f"expunge {visible(audit.version)}{method}"),
    )


def say_date(text: str) -> str:
    """Return an ISO time as people write it; `text` itself if it is none.

    >>> say_date("2026-03-05T14:07:31+00:00")
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


def _unchanged(audit: Audit) -> int:
    """Return how many pictures were answered as asked before the edit, and have that answer still."""
    share = audit.figures.get("goal.unchanged")
    return 0 if share is None else round((share.value or 0.0) * audit.subject.sizes["forget"] / 100)


def _done(audit: Audit, goal: telling.Telling) -> Answer:
    question, count, met, same = "Was it done?", audit.subject.sizes["forget"], _met(audit), _unchanged(audit)
    if audit.outcome is Outcome.RUINED:
        more = _sentence(f"{goal.met(met, count)}, but most other pictures are answered wrongly now")
        return Answer(question, "No, the classifier is ruined", more, Mark.BAD)
    if met < count:
        return Answer(question, f"No, {goal.met(met, count)}", COUNTED, Mark.BAD)
    if audit.outcome is not Outcome.REACHED:
        return Answer(question, f"Not as asked: {goal.met(met, count)}", SHORT_OF_COPIES, Mark.BAD)
    if same:
        said = f"For {count - same:,} of {plural(count, 'picture')}" if same < count else "There was nothing to do"
        return Answer(question, said, say_unchanged(same, count, "picture"), Mark.PARTLY)
    unseen = audit.figures.get("accuracy.class_after")
    if unseen is None or unseen.value is None:
        return Answer(question, f"Yes, {goal.met(met, count)}", COUNTED, Mark.GOOD)
    more = f"Of 100 pictures of the class that it had never seen, {say_hundredth(unseen.value)} still get its name."
    return Answer(question, f"Yes, {goal.met(met, count)}", more, Mark.PARTLY if unseen.flagged else Mark.GOOD)


def _copies(audit: Audit, goal: telling.Telling) -> Answer:
    question, figure = "Does it hold for changed copies?", audit.figures["goal.robust"]
    if figure.value is None:
        return Answer(question, "Not measured", figure.reason or "", Mark.OPEN)
    if audit.outcome is Outcome.RUINED:
        return Answer(question, "That says nothing now", RUINED, Mark.OPEN)
    if not _met(audit):
        return Answer(question, "That says nothing", "It was not done for the very pictures.", Mark.BAD)
    said = f"For {say_hundredth(figure.value)} of 100 copies"
    kinds = named_in(row["kind"] for row in audit.table("copies"))
    less = bool(kinds) and not CHANGES.keys() <= set(kinds)
    changes = say_list([CHANGES.get(kind, f"changed by {visible(kind)}") for kind in kinds] or ["changed a little"])
    more = f"Copies were {'only ' if less else ''}{changes}. {_copies_before(audit)}"
    return Answer(question, said, more, Mark.PARTLY if figure.flagged or less else Mark.GOOD)


def _copies_before(audit: Audit) -> str:
    """Return of how many copies it was so before, which is no merit of the edit."""
    before = audit.figures.get("goal.robust_before")
    if before is None or before.value is None:
        return "Some may have had another answer before the edit, too."
    return f"Before the edit it was so for {say_hundredth(before.value)} of 100."


def _cost(audit: Audit, goal: telling.Telling) -> Answer:
    question = "What did it cost everyone else?"
    part, before, after = _accuracies(audit.figures)
    if before is None or after is None:
        return _expected_cost(audit, question)
    churn = audit.figures.get(f"churn.{part}")
    changed = None if churn is None else churn.value
    said = f"From {say_hundredth(before)} to {say_hundredth(after)} of 100 pictures right"
    kind = "that it had never seen" if part == "test" else "that it was trained on; there were no others"
    more = f"Measured on {plural(audit.subject.sizes[part], 'other picture')} {kind}."
    if changed is not None:
        more += f" {say_hundredth(changed)} of 100 answers changed."
    if audit.outcome is Outcome.RUINED:
        return Answer(question, said, f"{more} Nobody can use such a classifier.", Mark.BAD)
    lost = before - after
    flagged = lost > FEW_LOST or (churn is not None and bool(churn.flagged))
    return Answer(question, said, more, Mark.BAD if lost > MANY_LOST else Mark.PARTLY if flagged else Mark.GOOD)


def _expected_cost(audit: Audit, question: str) -> Answer:
    """Return what can be said of the cost where there were no pictures to measure it on."""
    expected = audit.figures.get("churn.expected")
    more = "There were no other pictures to measure on."
    if expected is not None and expected.value is not None:
        more += f" Of 100 answers to made-up pictures, {say_hundredth(expected.value)} changed."
    if audit.outcome is Outcome.RUINED:
        return Answer(question, "Nearly everything", f"{more} Nobody can use such a classifier.", Mark.BAD)
    return Answer(question, "Not measured", more, Mark.OPEN)


def _outsider(audit: Audit, goal: telling.Telling) -> Answer:
    question = "Can an outsider pick the pictures out?"
    found, owner = audit.figures.get("outsider.after"), _owner_of_both(audit)
    if found is None or found.value is None:
        reason = None if found is None or "test" not in audit.subject.sizes else found.reason
        why = reason or "there were no unseen pictures to compare with"
        said = "Not measured for one who has only the new version" if owner else "Not measured"
        return Answer(question, said, f"{_sentence(why)}{owner}", Mark.PARTLY if owner else Mark.OPEN)
    if audit.outcome is Outcome.RUINED and not found.flagged:
        return Answer(question, "Not found, which says nothing now", RUINED, Mark.OPEN)
    usual = 50.0 if found.target is None else found.target
    said = f"In {say_hundredth(found.value)} of 100 tries; by chance it would be {say_hundredth(usual)}"
    more = (
        "A try: of one of these pictures and one that was never used, name the one that was. It is the best of several "
        "ways, and among few pictures the best is right in more than 50 tries by luck alone."
    )
    mark = _found_by_outsider(audit)
    if mark is Mark.OPEN:
        more += f" Among fewer than {FEWEST} pictures luck may do so well that this can't be told."
    return Answer(question, said, more + owner, mark)


def _found_by_outsider(audit: Audit) -> Mark:
    """Return whether one who has only the new version can't tell the pictures; of few, nobody can say."""
    found = audit.figures.get("outsider.after")
    if found is None or found.value is None:
        return Mark.OPEN
    if found.flagged:
        return Mark.PARTLY
    return Mark.OPEN if audit.subject.sizes["forget"] < FEWEST else Mark.GOOD


def _owner_of_both(audit: Audit) -> str:
    """Return in a sentence how many pictures the change of the weights names, if it names more than chance would."""
    named = audit.figures.get("patch.named")
    if named is None or named.value is None or not named.flagged:
        return ""
    count = audit.subject.sizes["forget"]
    few = "it" if count == 1 else f"{round(named.value * count / 100)} of the {count}"
    return f" Somebody who has the old version, too, can name {few if count <= FEW else _of_100(named.value)}."


def _of_100(percent: float) -> str:
    return f"{say_hundredth(percent)} of 100 of them"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _accuracies(figures: Mapping[str, Figure]) -> tuple[str, float | None, float | None]:
    """Return the best part that was measured, and percent right before and after on it."""
    for part in ("test", "retain"):
        both = [figures.get(f"accuracy.{part}_{when}") for when in WHEN]
        before, after = (None if each is None else each.value for each in both)
        if before is not None and after is not None:
            return part, before, after
    return "test", None, None


MAKERS: Mapping[str, Callable[[Audit, telling.Telling], Answer]] = {
    "done": _done,
    "copies": _copies,
    "cost": _cost,
    "outsider": _outsider,
}
