"""The same picture under two labels: at most one of them is right, and an edit can hardly do what both ask for."""

from collections.abc import Iterable, Sequence

from expunge.base.errors import ForgetSetError
from expunge.data.forget import ForgetSet
from expunge.requests.copies import Near
from expunge.requests.duplicates import HERE, find_same
from expunge.requests.project import Ledger

EXPECTED = "one label for each picture"


def require_one_label(ledger: Ledger, rows: ForgetSet) -> None:
    """Check that no picture stands under two labels, in these rows or in these and an earlier request that stands.

    Raises:
        ForgetSetError: one does.
    """
    for match in find_same(ledger, rows):
        if match.contradicts:
            mine, its = (say_label(ledger, label) for label in match.labels)
            what = "leave one of them out" if match.place == HERE else f"withdraw {match.place} if it has the wrong one"
            found = f"{mine} for {match.id}, and {its} for {match.other} of {match.place}: the same picture"
            raise ForgetSetError("labels", EXPECTED, found, f"which is right? Give that one, or {what}")


def require_labels_of_copies(
    ledger: Ledger, rows: ForgetSet, found: Sequence[Iterable[Near]], included: Iterable[int]
) -> None:
    """Check that training images that are to be forgotten with the pictures that they are copies of have their label.

    Args:
        ledger: for the names of classes.
        rows: the pictures.
        found: for each picture the training images near to it.
        included: rows of the training images that are to be forgotten too.

    Raises:
        ForgetSetError: a copy that is certain has another label than its picture.
    """
    wanted = set(included)
    for name, label, near in zip(rows.ids, rows.y.tolist(), found, strict=True):
        for one in near:
            if one.row in wanted and one.certain and one.label != label:
                mine, its = say_label(ledger, label), say_label(ledger, one.label)
                alike = "the same picture" if one.same else "nearly the same picture"
                raise ForgetSetError(
                    "labels",
                    EXPECTED,
                    f"{mine} for {name}, and {its} for {one.id} of the training data: {alike}",
                    f"which is right? Give {name} the label {its} if that is, or leave {one.id} out",
                )


def say_label(ledger: Ledger, label: int) -> str:
    """Return a label with its class's name, where it has one."""
    names = ledger.state.created["model"]["class_names"] or ()
    name = str(names[label]) if label < len(names) else str(label)
    return str(label) if name == str(label) else f"{label} ({name})"
