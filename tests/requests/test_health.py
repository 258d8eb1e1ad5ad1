"""An edit that ruins the classifier is not taken."""

from dataclasses import replace

import pytest
from small_job import QUICK

from expunge.base.errors import RuinedError
from expunge.compute.runtime import Runtime
from expunge.requests import versions
from expunge.requests.apply import apply_waiting
from expunge.requests.create import create_project
from expunge.requests.desk.view import tell_history
from expunge.requests.health import find_health
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import withdraw
from expunge.requests.state import State
from expunge.requests.verify import verify_project
from expunge.task.outcome import Health

SMALL_STEPS = {"attack": QUICK["attack"]}


@pytest.fixture(autouse=True)
def health(monkeypatch):
    """Look at every edit, as users' projects do."""
    monkeypatch.setattr(versions, "find_health", find_health)


@pytest.mark.parametrize(("data", "where"), [("test", "30 test images, it is right on"), (None, "256 surrogates, ")])
def test_a_ruined_version_is_not_made_and_the_request_has_failed(plan, tmp_path, rows_of, options, data, where):
    create_project(tmp_path / "project", replace(plan, data=plan.data if data else None, settings=SMALL_STEPS))
    with writing(tmp_path / "project") as ledger:
        before, rows = ledger.state.weights_sha256, rows_of(60, seed=0)
        receive(ledger, rows, options.plain)
        report = apply_waiting(ledger, Runtime())
        request = ledger.state.find("R0001")
        assert (report.versions, report.ruined, report.deleted) == ((), ("R0001",), ())
        assert report.failed["R0001"].startswith(f"the edit ruins the classifier: on {where}")
        assert (request.state, ledger.state.weights_sha256, ledger.state.newest) == (State.FAILED, before, 0)
        assert request.images is not None, "its images are still needed"
        assert "outcome ruined" in tell_history(ledger, request)[-1]["about"]
        assert verify_project(ledger).problems == ()


def test_what_is_compared_is_the_first_classifier_so_that_small_edits_do_not_add_up_unseen(
    project, rows_of, options, monkeypatch
):
    seen = []
    monkeypatch.setattr(Health, "ruined", property(seen.append))
    with writing(project) as ledger:
        for row in range(2):
            receive(ledger, rows_of(60, seed=0).rows([row]), replace(options.keeping, minimum_right=0.0))
            apply_waiting(ledger, Runtime())
    first, second = seen
    assert first.before == second.before
    assert first.accuracy_before == second.accuracy_before


def test_a_withdrawal_that_would_ruin_the_classifier_changes_nothing(project, rows_of, options, monkeypatch):
    monkeypatch.setattr(Health, "ruined", False)
    with writing(project) as ledger:
        for row in range(2):
            receive(ledger, rows_of(60, seed=0).rows([row]), replace(options.keeping, minimum_right=0.0))
            apply_waiting(ledger, Runtime())
        entries = len(ledger.entries)
        monkeypatch.setattr(Health, "ruined", True)
        with pytest.raises(RuinedError, match="R0002: the edit ruins the classifier"):
            withdraw(ledger, "R0001", "", Runtime())
        assert len(ledger.entries) == entries
