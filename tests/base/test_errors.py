import inspect

import pytest

from expunge.base import errors
from expunge.base.errors import ExpungeError, ExpungeWarning

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ExpungeError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_a_value_error_in_one_form(kind):
    error = kind("labels", "values in 0..9", "12", "check the class list")
    assert isinstance(error, ValueError)
    assert str(error) == "`labels`: expected values in 0..9, got 12; check the class list"


def test_without_a_hint_nothing_dangles():
    assert str(ExpungeError("a", "b", "c")) == "`a`: expected b, got c"


def test_the_tree_is_one_step_deep():
    assert all(kind is ExpungeError or kind.__bases__ == (ExpungeError,) for kind in KINDS)
    assert len(KINDS) > 5


def test_a_warning_is_no_error():
    assert issubclass(ExpungeWarning, UserWarning)
    assert not issubclass(ExpungeWarning, ExpungeError)
