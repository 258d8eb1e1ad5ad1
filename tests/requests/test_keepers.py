"""Projects that keep something in place of images: rows are held and checked when no image is left."""

from dataclasses import replace
from datetime import date

import pytest
import torch

from expunge.base.errors import LedgerError, SettingsError
from expunge.compute.runtime import Runtime
from expunge.methods.continual import find_lost
from expunge.requests.apply import apply_waiting
from expunge.requests.create import create_project
from expunge.requests.keepers import load_keeper
from expunge.requests.project import Ledger
from expunge.requests.purge import purge_keepers
from expunge.requests.receive import RequestOptions, receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo, withdraw
from expunge.requests.snapshot import read_snapshot, write_snapshot
from expunge.requests.verify import verify_project
from expunge.requests.weights import load_first, read_current, with_weights
from expunge.task.task import Strength

FAR = date(2999, 12, 31)
pytestmark = pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
QUICK = {"surrogates": {"inverted": 0, "procedural": 60, "mixes": 60}, "exact": {"steps": 6}}


@pytest.fixture
def keeping(plan, tmp_path):
    """Return the folder of an empty project that makes keepers."""
    folder = tmp_path / "keeping"
    create_project(folder, replace(plan, method="least-change", settings=QUICK, strength=Strength.EXACT, keepers=True))
    return folder


def apply_parts(folder, rows, size=3):
    """Apply requests of so many rows each, one after another, whose images go as soon as they are verified."""
    for start in range(0, len(rows), size):
        with writing(folder) as ledger:
            receive(ledger, rows.rows(range(start, start + size)), RequestOptions(minimum_right=0.0))
            report = apply_waiting(ledger, Runtime())
            assert not report.failed
    return Ledger.open(folder)


def newest_of(ledger):
    return with_weights(load_first(ledger).classifier, read_current(ledger))


def test_rows_stay_forgotten_when_all_images_are_gone(keeping, rows_of):
    rows = rows_of(9, seed=0)
    ledger = apply_parts(keeping, rows)

    assert all(request.images is None for request in ledger.state.requests.values())
    assert find_lost(newest_of(ledger), {"all": rows}) == {}
    figures = ledger.state.versions[3].figures
    assert (figures["checked"], figures["uncheckable"]) == (6, [])
    assert verify_project(ledger).problems == ()


def test_nothing_before_the_cut_ever_changes(keeping, rows_of):
    ledger = apply_parts(keeping, rows_of(6, seed=0))
    before, after = load_first(ledger).classifier.network.state_dict(), newest_of(ledger).network.state_dict()

    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("4."))
    assert not torch.equal(before["4.weight"], after["4.weight"])


def test_a_keeper_is_sealed_and_bound_to_its_request(keeping, rows_of):
    ledger = apply_parts(keeping, rows_of(6, seed=0))
    first, second = ledger.state.requests.values()
    content = (keeping / first.keeper.path).read_bytes()

    assert b"copies" not in content, "names of tensors can be read"
    (keeping / first.keeper.path).write_bytes((keeping / second.keeper.path).read_bytes())
    with pytest.raises(LedgerError, match="sealed data of R0001"):
        load_keeper(ledger, first, "network.3")
    assert any("swapped or changed" in problem for problem in verify_project(ledger).problems)


def test_withdrawing_a_request_deletes_its_keeper(keeping, rows_of):
    ledger = apply_parts(keeping, rows_of(3, seed=0))
    path = keeping / ledger.state.find("R0001").keeper.path
    with writing(keeping) as ledger:
        withdraw(ledger, "R0001", "", Runtime())

    assert not path.exists()
    assert ledger.state.find("R0001").keeper is None


def test_deleted_keepers_are_named_as_not_checked(keeping, rows_of):
    rows = rows_of(6, seed=0)
    apply_parts(keeping, rows.rows(range(3)))
    with writing(keeping) as ledger:
        (file,) = purge_keepers(ledger, [ledger.state.find("R0001")])
    ledger = apply_parts(keeping, rows.rows(range(3, 6)))

    assert not (keeping / file.path).exists()
    assert ledger.state.versions[2].figures["uncheckable"] == ["R0001"]


def test_a_keeper_outlives_undo(keeping, rows_of):
    rows = rows_of(3, seed=0)
    with writing(keeping) as ledger:
        receive(ledger, rows, RequestOptions(keep_until=FAR))
        apply_waiting(ledger, Runtime())
        keeper = ledger.state.find("R0001").keeper
        undo(ledger)
        apply_waiting(ledger, Runtime())
        assert ledger.state.find("R0001").keeper == keeper


def test_a_snapshot_has_the_keepers(keeping, rows_of):
    ledger = apply_parts(keeping, rows_of(3, seed=0))
    write_snapshot(keeping, ledger.keys, ledger.state, ledger.last)

    assert read_snapshot(keeping, ledger.keys).state == ledger.state


def test_methods_that_would_spoil_keepers_are_refused(plan, keeping, rows_of, tmp_path):
    with pytest.raises(SettingsError, match="keepers"):
        create_project(tmp_path / "other", replace(plan, keepers=True))
    with writing(keeping) as ledger, pytest.raises(SettingsError, match="keepers"):
        receive(ledger, rows_of(3, seed=0), RequestOptions(method="l2ul"))


def test_a_keeper_that_no_entry_names_is_put_aside(keeping, rows_of):
    """A command that is killed after it has written the file, and before the entry, leaves one."""
    ledger = apply_parts(keeping, rows_of(3, seed=0))
    path = keeping / ledger.state.find("R0001").keeper.path
    orphan = path.with_name(path.name.replace("R0001-", "R0002-"))
    orphan.write_bytes(path.read_bytes())
    with writing(keeping):
        pass

    assert not orphan.exists()
    assert (keeping / "quarantine" / orphan.name).exists()


def test_a_lost_keeper_is_found_by_verify_and_stops_the_next_edit(keeping, rows_of):
    rows = rows_of(6, seed=0)
    ledger = apply_parts(keeping, rows.rows(range(3)))
    (keeping / ledger.state.find("R0001").keeper.path).unlink()

    assert any("missing" in problem for problem in verify_project(Ledger.open(keeping)).problems)
    with writing(keeping) as ledger:
        receive(ledger, rows.rows(range(3, 6)), RequestOptions(minimum_right=0.0))
        with pytest.raises(LedgerError, match="the keeper of a request"):
            apply_waiting(ledger, Runtime())
