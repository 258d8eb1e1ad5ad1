"""The same picture under two labels is refused."""

from dataclasses import replace

import pytest
import torch

from expunge.base.errors import ForgetSetError
from expunge.data.forget import ForgetSet
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import withdraw


def test_a_request_with_a_picture_under_two_labels_is_refused(project, rows_of, options):
    x = rows_of(1, seed=0).x[[0, 0]]
    with writing(project) as ledger:
        entries = len(ledger.entries)
        with pytest.raises(
            ForgetSetError, match="one label for each picture, got 1 for b, and 0 for a of this request"
        ):
            receive(ledger, ForgetSet(("a", "b"), x, torch.tensor([0, 1])), options.plain)
        assert len(ledger.entries) == entries
        assert receive(ledger, ForgetSet(("a", "b"), x, torch.tensor([0, 0])), options.plain).rows == 2


@pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
def test_a_picture_of_an_earlier_request_that_stands_keeps_its_label(project, rows_of, options):
    x, any_label = rows_of(1, seed=0).x, replace(options.plain, minimum_right=0.0)
    with writing(project) as ledger:
        receive(ledger, ForgetSet(("first",), x, torch.tensor([0])), options.plain)
        other = ForgetSet(("second",), x, torch.tensor([2]))
        found = "2 for second, and 0 for first of R0001: the same picture; which is right?"
        with pytest.raises(ForgetSetError, match=found):
            receive(ledger, other, any_label)
        withdraw(ledger, "R0001", "another label", None)
        assert receive(ledger, other, any_label).name == "R0002"
