"""Who has to approve a request, what entries say of people, and ledgers from before there were any."""

from dataclasses import replace

import pytest

from expunge.base.errors import LedgerError
from expunge.compute.runtime import Runtime
from expunge.requests.apply import apply_waiting
from expunge.requests.approval import Approval, approval_of, approve, is_approved, set_approval
from expunge.requests.create import create_project
from expunge.requests.project import Ledger
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.snapshot import read_snapshot, write_snapshot
from expunge.requests.state import LedgerState, State


@pytest.fixture
def made(plan, tmp_path):
    """Return the function that makes a project with an approval."""

    def make(approval):
        create_project(tmp_path / "approved", replace(plan, approval=approval))
        return tmp_path / "approved"

    return make


def add_as(ledger, person, rows, options):
    ledger.signature = {"actor": person} if person else {}
    return receive(ledger, rows, options).name


@pytest.mark.parametrize("approval", list(Approval))
def test_who_approves(made, rows_of, options, approval):
    with writing(made(approval)) as ledger:
        name = add_as(ledger, "anna", rows_of(3, seed=0), options.keeping)
        request = ledger.state.find(name)
        assert is_approved(ledger.state, request) is (approval is Approval.NONE)
        if approval is Approval.TWO:
            with pytest.raises(LedgerError, match="did not add it, got anna"):
                approve(ledger, name)
            ledger.signature = {"actor": "ben"}
        approve(ledger, name)
        assert is_approved(ledger.state, request)
        with pytest.raises(LedgerError, match="one approval of each person"):
            approve(ledger, name)
        assert apply_waiting(ledger, Runtime()).verified == (name,)
        with pytest.raises(LedgerError, match="a request that waits"):
            approve(ledger, name)
    assert Ledger.open(ledger.folder).state.find(name).by == "anna"


def test_what_nobody_approved_is_left_out_or_refused(made, rows_of, options):
    with writing(made(Approval.ONE)) as ledger:
        name = add_as(ledger, "", rows_of(3, seed=0), options.plain)
        with pytest.raises(LedgerError, match="expected somebody who approves it, got nobody"):
            approve(ledger, name)
        assert apply_waiting(ledger, Runtime()).versions == ()
        with pytest.raises(LedgerError, match="expected a request that was approved"):
            apply_waiting(ledger, Runtime(), names=[name])
        assert ledger.state.find(name).state is State.VALIDATED


def test_a_project_of_old_asks_for_no_approval():
    assert approval_of(LedgerState(created={})) is Approval.NONE


def test_people_approvals_and_days_are_in_a_snapshot(made, rows_of, options):
    with writing(made(Approval.ONE)) as ledger:
        ledger.append(
            [("invited", {"person": "ben", "role": "approver"}), ("invited", {"person": "rita", "role": "reader"})]
        )
        ledger.append([("dismissed", {"person": "rita"})])
        ledger.signature = {"actor": "ben"}
        set_approval(ledger, Approval.TWO)
        set_approval(ledger, Approval.ONE)
        name = add_as(ledger, "ben", rows_of(3, seed=0), replace(options.plain, due=options.keeping.keep_until))
        approve(ledger, name)
        write_snapshot(ledger.folder, ledger.keys, ledger.state, ledger.last)
        found = read_snapshot(ledger.folder, ledger.keys).state
    assert found == ledger.state
    assert found.people == {"ben": "approver"}
    assert {**found.approval, "time": ""} == {"approval": "one", "before": "two", "by": "ben", "time": ""}
    request = found.find(name)
    assert (request.by, request.approved, request.due) == ("ben", ["ben"], "2999-12-31")
