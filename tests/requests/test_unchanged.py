"""Images that were answered otherwise than labelled before an edit are told from those that it made forgotten."""

from dataclasses import replace

import pytest
import torch

from expunge.base.errors import ExpungeWarning
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.requests.apply import apply_waiting
from expunge.requests.project import Ledger
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo
from expunge.requests.telling import tell_unchanged, unchanged_of


def wrongly_labelled(rows_of):
    """Return two images, the second under a label that the classifier does not answer it with."""
    rows = rows_of(2, seed=0)
    return ForgetSet(("right", "wrong"), rows.x, torch.tensor([0, 2]))


def test_a_label_that_the_classifier_does_not_answer_is_named_when_it_comes_in(project, rows_of, options):
    with (
        writing(project) as ledger,
        pytest.warns(ExpungeWarning, match=r"1 of 2 rows are .*: wrong \(1 instead of 2\); perhaps a label is wrong"),
    ):
        receive(ledger, wrongly_labelled(rows_of), options.plain)


@pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
def test_images_whose_answer_was_another_before_and_did_not_change_are_counted(project, rows_of, options):
    with writing(project) as ledger:
        receive(ledger, wrongly_labelled(rows_of), options.keeping)
        receive(ledger, replace(rows_of(3, seed=0).rows([2]), ids=("third",)), options.keeping)
        (version,) = apply_waiting(ledger, Runtime()).versions
        assert tell_unchanged(version) == {
            "R0001": "The answer to 1 of 2 images is what it was before: it was answered as asked already. "
            "Perhaps its label is wrong."
        }
        assert [unchanged_of(ledger.state, ledger.state.find(name)) for name in ("R0001", "R0002")] == [1, 0]
        undo(ledger)
    assert unchanged_of(Ledger.open(project).state, ledger.state.find("R0001")) == 0
