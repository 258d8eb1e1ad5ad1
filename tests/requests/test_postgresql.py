"""The ledger in PostgreSQL, when a server is at hand: EXPUNGE_POSTGRESQL is the URL of an empty database."""

import os
from dataclasses import replace

import pytest

from expunge.base.errors import LedgerError
from expunge.compute.runtime import Runtime
from expunge.requests.apply import apply_waiting
from expunge.requests.create import create_project
from expunge.requests.database import TABLES, Database
from expunge.requests.project import Ledger
from expunge.requests.purge import purge_fingerprints
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo
from expunge.requests.verify import verify_project


@pytest.fixture
def url():
    """Return the URL; the ledger's tables are dropped afterwards."""
    if "EXPUNGE_POSTGRESQL" not in os.environ:
        pytest.skip("no PostgreSQL server; set EXPUNGE_POSTGRESQL to postgresql+psycopg://user@host/database")
    url = os.environ["EXPUNGE_POSTGRESQL"]
    yield url
    TABLES.drop_all(Database.connect(url).engine)


def test_a_project_can_keep_its_ledger_in_postgresql(plan, url, tmp_path, rows_of, wishes):
    create_project(tmp_path / "project", replace(plan, database=url))
    with writing(tmp_path / "project") as ledger:
        receive(ledger, rows_of(4, seed=0), wishes.keeping)
        apply_waiting(ledger, Runtime())
        undo(ledger)
        apply_waiting(ledger, Runtime())
        assert purge_fingerprints(ledger, [ledger.state.find("R0001")]) == 1
    first, second = Ledger.open(tmp_path / "project"), Ledger.open(tmp_path / "project")
    assert verify_project(first).problems == ()
    first.append([("failed", {"request": "R0001", "reason": "none"})])
    with pytest.raises(LedgerError, match="got an entry written meanwhile"):
        second.append([("failed", {"request": "R0001", "reason": "none"})])
    with pytest.raises(LedgerError, match="expected a database without a ledger"):
        create_project(tmp_path / "other", replace(plan, database=url))
