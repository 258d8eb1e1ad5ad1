"""Requests one after another: apply, keep forgotten, undo, withdraw, purge."""

import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
import torch

from expunge.base.errors import DataError, ExpungeWarning, ForgetSetError, LedgerError, OutputError, SettingsError
from expunge.base.tensors import sha256_tensors
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.continual import find_lost, holds, join
from expunge.requests.apply import apply_waiting
from expunge.requests.continual import forget_more
from expunge.requests.create import create_project
from expunge.requests.duplicates import HERE, find_duplicates
from expunge.requests.images import load_rows
from expunge.requests.project import Ledger
from expunge.requests.purge import purge_due, purge_fingerprints, purge_images
from expunge.requests.rebase import purge_versions
from expunge.requests.receive import RequestOptions, number_names, receive, supply
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo, withdraw
from expunge.requests.state import State
from expunge.requests.verify import sha256_weights_file, verify_project
from expunge.requests.versions import OpenProject, Start, _blame_new
from expunge.requests.weights import load_first, read_current, rebuild, with_weights


def classifier_of(ledger):
    return with_weights(load_first(ledger).classifier, read_current(ledger))


def add(ledger, rows, option):
    return receive(ledger, rows, option).name


@pytest.fixture
def three(project, rows_of, options):
    """Return a project with three applied requests whose images are kept, each a version of its own."""
    with writing(project) as ledger:
        for number in range(3):
            add(ledger, rows_of(60, seed=0).rows(range(4 * number, 4 * number + 4)), options.keeping)
        apply_waiting(ledger, Runtime(), batch=1)
    return project


def test_a_request_goes_from_validated_to_verified(project, rows_of, options):
    with writing(project) as ledger:
        name = add(ledger, rows_of(4, seed=0), options.keeping)
        assert (name, ledger.state.find(name).state) == ("R0001", State.VALIDATED)
        before = ledger.state.weights_sha256
        report = apply_waiting(ledger, Runtime())
        request = ledger.state.find(name)
        assert (request.state, request.version) == (State.VERIFIED, 1)
        assert [kind for _, kind, _ in ledger.history(request)] == ["received", "validated", "applied", "verified"]
        assert report.versions[0].base_sha256 == before
        assert report.versions[0].result_sha256 == ledger.state.weights_sha256 != before
        assert not (classifier_of(ledger)(rows_of(4, seed=0).x).argmax(dim=1) == rows_of(4, seed=0).y).any()
    reopened = Ledger.open(project)
    assert reopened.state.find(name) == ledger.state.find(name)
    assert verify_project(reopened).problems == ()


def test_waiting_requests_of_one_method_are_one_version_or_batches(project, rows_of, options):
    rows = rows_of(60, seed=0)
    with writing(project) as ledger:
        for number in range(3):
            add(ledger, rows.rows([number]), options.keeping)
        add(ledger, rows.rows([3]), replace(options.keeping, seed=7))
        report = apply_waiting(ledger, Runtime(), batch=2)
        assert [version.requests for version in report.versions] == [("R0001", "R0002"), ("R0003",), ("R0004",)]


def test_later_requests_leave_earlier_ones_forgotten(three):
    ledger = Ledger.open(three)
    classifier = classifier_of(ledger)
    for name in ("R0001", "R0002", "R0003"):
        assert holds(classifier, load_rows(ledger, ledger.state.find(name))).all()
    assert [version.figures["checked"] for version in ledger.state.lineage()] == [0, 4, 8]


def test_rows_that_came_back_are_repaired_in_the_same_edit(project, rows_of, options):
    """The earlier row has not been forgotten at all here, so the first round finds it and the second repairs it."""
    with writing(project) as ledger:
        classifier = classifier_of(ledger)
        add(ledger, rows_of(60, seed=0).rows([0]), options.keeping)
        how = ledger.state.find("R0001").how
        rows = rows_of(60, seed=0)
        earlier = {"R0009": ForgetSet(("R0009/a", "R0009/b"), rows.x[20:22], rows.y[20:22])}
        outcome = forget_more(classifier, {"R0001": rows.rows([0])}, earlier, how, Runtime())
        assert "R0009/a" in outcome.repaired
        assert outcome.rounds >= 2
        assert find_lost(outcome.classifier, earlier) == {}
        assert holds(outcome.classifier, rows.rows([0])).all()


def test_an_edit_from_the_first_classifier_forgets_all_rows_and_can_be_undone(three, rows_of, options):
    with writing(three) as ledger:
        before, rows = ledger.state.weights_sha256, rows_of(60, seed=0)
        still_right = (classifier_of(ledger)(rows.x).argmax(dim=1) == rows.y).nonzero().flatten()[:2].tolist()
        add(ledger, rows.rows(still_right), options.keeping)
        (version,) = apply_waiting(ledger, Runtime(), start=Start.FIRST).versions
        assert (version.figures["start"], version.figures["rounds"], version.figures["repaired"]) == ("first", 1, [])
        assert (version.base_sha256, version.requests) == (before, ("R0004",))
        assert find_lost(classifier_of(ledger), {"all": rows.rows([*range(12), *still_right])}) == {}
        opened = OpenProject.open(ledger, Runtime())
        every = {name: load_rows(ledger, ledger.state.find(name)) for name in ("R0001", "R0002", "R0003", "R0004")}
        alone = forget_more(opened.first.classifier, every, {}, ledger.state.find("R0004").how, Runtime())
        assert sha256_tensors(alone.classifier.network.state_dict()) == ledger.state.weights_sha256
        undo(ledger)
        assert ledger.state.weights_sha256 == before
    assert verify_project(Ledger.open(three)).problems == ()


def test_an_edit_from_the_first_classifier_needs_all_images(project, rows_of, options):
    with writing(project) as ledger:
        rows = rows_of(60, seed=0)
        add(ledger, rows.rows([0, 1]), options.plain)
        apply_waiting(ledger, Runtime())
        still_right = (classifier_of(ledger)(rows.x).argmax(dim=1) == rows.y).nonzero().flatten()[:2].tolist()
        name = add(ledger, rows.rows(still_right), options.keeping)
        entries = len(ledger.entries)
        with pytest.raises(LedgerError, match=r"`--from`: expected the images of all earlier requests.*none for R0001"):
            apply_waiting(ledger, Runtime(), start=Start.FIRST)
        assert len(ledger.entries) == entries
        assert apply_waiting(ledger, Runtime()).verified == (name,)


def test_who_is_blamed_where_all_rows_move_together():
    assert _blame_new({}, ["R0002"]) == {}
    assert _blame_new({"R0001": "stuck", "R0002": "too"}, ["R0002", "R0003"]) == {"R0002": "too"}
    assert _blame_new({"R0001": "stuck"}, ["R0002", "R0003"]) == {"R0002": "stuck", "R0003": "stuck"}


def test_a_request_that_contradicts_an_earlier_one_fails_and_changes_nothing(project, rows_of, options, monkeypatch):
    """Such requests, of a picture under two labels, came in once, and may wait in a project."""
    monkeypatch.setattr("expunge.requests.receive.require_one_label", lambda *_: None)
    rows = rows_of(4, seed=0)
    with writing(project) as ledger:
        add(ledger, rows, options.keeping)
        apply_waiting(ledger, Runtime())
        before = ledger.state.weights_sha256
        answer = classifier_of(ledger)(rows.x).argmax(dim=1)
        back = ForgetSet(rows.ids, rows.x, answer, rows.y)
        name = add(ledger, back, options.keeping)
        report = apply_waiting(ledger, Runtime())
        assert list(report.failed) == [name]
        assert ledger.state.find(name).state is State.FAILED
        assert ledger.state.weights_sha256 == before
        assert apply_waiting(ledger, Runtime()).versions == ()


def test_a_method_that_needs_retain_data_is_refused_at_once(project, plan, tmp_path, rows_of, options):
    words = r"`method`: expected one without retain data, which a project doesn't have, got fine-tune; `expunge"
    with writing(project) as ledger, pytest.raises(SettingsError, match=words):
        add(ledger, rows_of(3, seed=0), replace(options.plain, method="fine-tune"))
    with pytest.raises(SettingsError, match=words):
        create_project(tmp_path / "other", replace(plan, method="fine-tune", settings={}))
    assert not (tmp_path / "other").exists()
    assert len(Ledger.open(project).entries) == 1


@pytest.fixture
def unfit(project, rows_of, options, monkeypatch):
    """Return a project with three requests, the second by a method that can't be run, as older versions took in."""
    monkeypatch.setattr("expunge.requests.receive.require_forget_only", lambda _: None)
    rows = rows_of(60, seed=0)
    with writing(project) as ledger:
        add(ledger, rows.rows([0, 1]), options.plain)
        add(ledger, rows.rows([3]), replace(options.plain, method="fine-tune"))
        add(ledger, rows.rows([5]), replace(options.plain, seed=7))
    (project / "cache").mkdir()
    (project / "cache" / "some.safetensors").write_bytes(b"surrogates")
    return project


def test_an_error_of_one_request_fails_it_alone_and_what_is_due_is_deleted(unfit):
    with writing(unfit) as ledger:
        report = apply_waiting(ledger, Runtime())
        states = [request.state.value for request in ledger.state.requests.values()]
    assert states == ["verified", "failed", "verified"]
    assert (report.verified, report.error) == (("R0001", "R0003"), None)
    assert "`retain`: expected the rest of the training data" in report.failed["R0002"]
    assert [request.images is None for request in ledger.state.requests.values()] == [True, False, True]
    assert not any((unfit / "cache").iterdir())
    assert ledger.state.cache is not None
    assert verify_project(Ledger.open(unfit)).problems == ()


def test_test_data_that_cannot_be_reached_fail_no_request(project, rows_of, options, monkeypatch):
    def gone(*_):
        raise DataError("images.npz", "a file", "none there")

    with writing(project) as ledger:
        add(ledger, rows_of(3, seed=0), options.plain)
        with monkeypatch.context() as patch:
            patch.setattr("expunge.requests.drift._load_test", gone)
            with pytest.raises(DataError, match="none there"):
                apply_waiting(ledger, Runtime())
        assert ledger.state.find("R0001").state is State.VALIDATED
        assert apply_waiting(ledger, Runtime()).verified == ("R0001",)


def test_images_that_were_changed_fail_their_request_alone(project, rows_of, options):
    rows = rows_of(60, seed=0)
    with writing(project) as ledger:
        for row in (0, 3):
            add(ledger, rows.rows([row]), options.plain)
        path = project / ledger.state.find("R0001").images.path
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        report = apply_waiting(ledger, Runtime())
    assert (list(report.failed), report.verified) == (["R0001"], ("R0002",))


def test_an_error_of_the_project_fails_nobody_and_does_not_hide_what_was_done(unfit, full_disk):
    full_disk("0002-patch")
    with writing(unfit) as ledger:
        report = apply_waiting(ledger, Runtime())
        states = [request.state.value for request in ledger.state.requests.values()]
        assert states == ["verified", "failed", "validated"]
        assert (report.verified, "No space left" in str(report.error)) == (("R0001",), True)
        assert "cache/some.safetensors" in [file.path for file in report.deleted]
        with pytest.raises(OutputError, match="No space left"):
            apply_waiting(ledger, Runtime())
    assert not any((unfit / "cache").iterdir())


@pytest.mark.filterwarnings("ignore:.* rows are not predicted as labelled")
def test_surrogates_are_sealed_again_when_a_withdrawal_fails(project, rows_of, options, monkeypatch):
    with writing(project) as ledger:
        for row, option in ((0, options.keeping), (3, options.keeping), (5, options.plain)):
            add(ledger, rows_of(60, seed=0).rows([row]), replace(option, minimum_right=0.0))
            apply_waiting(ledger, Runtime())
        (project / "cache").mkdir(exist_ok=True)
        (project / "cache" / "some.safetensors").write_bytes(b"surrogates")
        with pytest.raises(LedgerError, match="none for R0003"):
            withdraw(ledger, "R0001", "", Runtime())
        assert not any((project / "cache").iterdir())
        assert ledger.state.cache is not None


def test_where_nothing_waits_surrogates_stay_sealed_and_the_ledger_as_it_is(project, rows_of, options, monkeypatch):
    with writing(project) as ledger:
        (project / "cache").mkdir()
        (project / "cache" / "some.safetensors").write_bytes(b"surrogates")
        add(ledger, rows_of(3, seed=0), options.plain)
        apply_waiting(ledger, Runtime())
        number = ledger.last.number
        monkeypatch.setattr("expunge.requests.apply.unpack_cache", None)
        assert apply_waiting(ledger, Runtime()).deleted == ()
        assert ledger.last.number == number


def test_requests_with_and_without_new_labels_join_as_labels(classifier, rows):
    part, other = rows.rows([0, 1]), rows.rows([2])
    joined = join([part, ForgetSet(("new",), other.x, other.y, (other.y + 1) % 5)], classifier)
    best = classifier(part.x).scatter(1, part.y.unsqueeze(1), -torch.inf).argmax(dim=1)
    assert joined.y_new.tolist() == [*best.tolist(), int(other.y + 1) % 5]
    assert join([part, other], classifier).y_new is None


def test_undo_restores_every_bit(three):
    with writing(three) as ledger:
        shas = [ledger.state.sha256_of(number) for number in range(4)]
        for number in (3, 2, 1):
            assert undo(ledger).number == number
            assert ledger.state.weights_sha256 == shas[number - 1]
            assert sha256_weights_file(three / "current.safetensors") == shas[number - 1]
            assert ledger.state.find(f"R000{number}").state is State.VALIDATED
        with pytest.raises(LedgerError, match="expected a version to undo, got the first classifier"):
            undo(ledger)
        assert [version.requests for version in apply_waiting(ledger, Runtime()).versions] == [
            ("R0001", "R0002", "R0003")
        ]
        assert ledger.state.newest == 4
    assert verify_project(Ledger.open(three)).problems == ()


def test_withdrawing_an_earlier_request_applies_the_later_ones_anew(three):
    with writing(three) as ledger:
        report = withdraw(ledger, "R0001", "a mistake", Runtime())
        assert [version.requests for version in report.versions] == [("R0002",), ("R0003",)]
        assert [version.parent for version in ledger.state.lineage()] == [0, 4]
        assert ledger.state.find("R0001").state is State.WITHDRAWN
        assert ledger.state.find("R0001").images is None
        assert [one.name for one in ledger.state.in_state(State.VERIFIED)] == ["R0002", "R0003"]
        classifier = classifier_of(ledger)
        assert all(holds(classifier, load_rows(ledger, ledger.state.find(name))).all() for name in ("R0002", "R0003"))
        with pytest.raises(LedgerError, match="got a withdrawn one"):
            withdraw(ledger, "R0001", "", Runtime())
    assert verify_project(Ledger.open(three)).problems == ()


def test_withdrawing_the_newest_and_a_waiting_request(three, rows_of, options):
    with writing(three) as ledger:
        second = ledger.state.sha256_of(2)
        assert withdraw(ledger, "R0003", "", Runtime()).versions == ()
        assert ledger.state.weights_sha256 == second == sha256_weights_file(three / "current.safetensors")
        rows = rows_of(60, seed=0)
        right = (classifier_of(ledger)(rows.x).argmax(dim=1) == rows.y).nonzero().flatten().tolist()
        name = add(ledger, rows.rows(right[-1:]), options.plain)
        withdraw(ledger, name, "changed their mind", Runtime())
        assert ledger.state.find(name).images is None
        assert not list((three / "images").glob(f"{name}*"))


def test_withdrawing_needs_the_images_of_later_requests(project, rows_of, options):
    rows = rows_of(60, seed=0)
    with writing(project) as ledger:
        for number in range(2):
            add(ledger, rows.rows([number]), options.plain)
            apply_waiting(ledger, Runtime())
        with pytest.raises(LedgerError, match=r"got none for R0002; give them once more: .* --again R0002"):
            withdraw(ledger, "R0001", "", Runtime())
        with pytest.raises(LedgerError, match="expected the images that it came with, got others; not found: row-1"):
            supply(ledger, "R0002", rows.rows([7]))
        supply(ledger, "R0002", rows.rows([7, 1]))
        assert withdraw(ledger, "R0001", "", Runtime()).versions[0].requests == ("R0002",)


def test_after_undo_a_request_without_images_is_named_not_applied(project, rows_of, options):
    with writing(project) as ledger:
        add(ledger, rows_of(3, seed=0), options.plain)
        apply_waiting(ledger, Runtime())
        undo(ledger)
        assert apply_waiting(ledger, Runtime()).without_images == ("R0001",)
        with pytest.raises(LedgerError, match="R0001`: expected its images"):
            apply_waiting(ledger, Runtime(), names=["R0001"])


def test_requests_without_images_are_reported_as_uncheckable(project, rows_of, options):
    with writing(project) as ledger:
        for number, option in enumerate((options.plain, options.keeping, options.plain)):
            add(ledger, rows_of(60, seed=0).rows([number]), option)
            report = apply_waiting(ledger, Runtime())
        assert report.versions[0].figures["uncheckable"] == ["R0001"]
        assert report.versions[0].figures["checked"] == 1


def traces_of(rows):
    """Return byte strings that would show the pixels, as the formats that might hold them store them."""
    levels = (rows.x * 255).round().to(torch.uint8)
    found = []
    for image, level in zip(rows.x, levels, strict=True):
        found += [image.numpy().tobytes()[:120], level.numpy().tobytes()[:30]]
        found += [
            level.permute(1, 2, 0).contiguous().numpy().tobytes()[:30],
            level.numpy().tobytes()[:30].hex().encode(),
        ]
    return found


def readable_bytes(folder):
    """Yield the content of every file, and of what is compressed in it."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            yield content
            start = content.find(b"\x78\xda")
            while start >= 0:
                with suppress(zlib.error):
                    yield zlib.decompressobj().decompress(content[start:])
                start = content.find(b"\x78\xda", start + 1)


def test_no_trace_of_the_pixels_is_in_the_folder_at_any_time(project, rows_of, options):
    rows = rows_of(6, seed=0)
    with writing(project) as ledger:
        add(ledger, rows, options.plain)
        everything = list(readable_bytes(project))
        assert not any(trace in content for content in everything for trace in traces_of(rows))
        (stored,) = (project / "images").iterdir()
        sealed = stored.read_bytes()
        apply_waiting(ledger, Runtime())
        assert list((project / "images").iterdir()) == []
        everything = list(readable_bytes(project))
        assert not any(trace in content for content in everything for trace in [*traces_of(rows), sealed[:40]])
        (event,) = [entry.body for entry in ledger.entries if entry.kind == "purged"]
        assert [file["path"] for file in event["files"]] == [f"images/{stored.name}"]
        assert ledger.state.find("R0001").images is None


def test_kept_images_go_when_their_day_has_passed(project, rows_of, options, monkeypatch):
    today = datetime.now(UTC).date()
    with writing(project) as ledger:
        add(ledger, rows_of(3, seed=0), options.keeping)
        add(ledger, rows_of(60, seed=0).rows([9]), RequestOptions(keep_until=today))
        with pytest.raises(LedgerError, match="R0001`: expected a verified or withdrawn request, got validated"):
            purge_images(ledger, [ledger.state.find("R0001")])
        assert apply_waiting(ledger, Runtime()).deleted == ()
        monkeypatch.setattr("expunge.requests.purge.datetime", at(today + timedelta(days=1)))
        assert [file.path[:12] for file in purge_due(ledger)] == ["images/R0002"]
        assert purge_due(ledger) == []
        assert [file.path[:12] for file in purge_images(ledger, [ledger.state.find("R0001")])] == ["images/R0001"]
    assert verify_project(Ledger.open(project)).problems == ()


def at(day):
    """Return a clock that stands at noon of a day."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return SimpleNamespace(now=lambda zone: noon)


def test_a_day_that_has_passed_is_no_day_to_keep_images_until():
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    with pytest.raises(SettingsError, match=r"keep_until`: expected today or a later day, got .*; leave it out"):
        RequestOptions(keep_until=yesterday)


def test_a_clock_that_was_set_back_is_noted_and_keeps_images_no_longer(project, rows_of, monkeypatch):
    today = datetime.now(UTC).date()
    with writing(project) as ledger:
        name = add(ledger, rows_of(3, seed=0), RequestOptions(keep_until=today + timedelta(days=5)))
        apply_waiting(ledger, Runtime())
        monkeypatch.setattr("expunge.requests.chain.datetime", at(today + timedelta(days=9)))
        ledger.append([("verified", {"request": name, "version": 1, "figures": {}})])
        monkeypatch.setattr("expunge.requests.chain.datetime", at(today))
        with pytest.warns(ExpungeWarning, match=r"the clock is behind entry \d+"):
            assert [file.path[:12] for file in purge_due(ledger)] == ["images/R0001"]
        (*_, (_, kind, body)) = ledger.history(ledger.state.find(name))
        assert (kind, ledger.entries[-1].body["clock"][:12]) == ("purged", "behind entry")
        assert "path" in body


def test_caches_made_during_an_edit_are_deleted(project, rows_of, options):
    with writing(project) as ledger:
        (project / "cache").mkdir()
        (project / "cache" / "surrogates.safetensors").write_bytes(b"surrogates")
        add(ledger, rows_of(3, seed=0), options.plain)
        assert "cache/surrogates.safetensors" in [file.path for file in apply_waiting(ledger, Runtime()).deleted]
        assert not any((project / "cache").iterdir())


def test_caches_stay_while_all_images_do(project, rows_of, options):
    with writing(project) as ledger:
        (project / "cache").mkdir()
        (project / "cache" / "surrogates.safetensors").write_bytes(b"surrogates")
        add(ledger, rows_of(3, seed=0), options.keeping)
        assert apply_waiting(ledger, Runtime()).deleted == ()
        assert [path.name for path in (project / "cache").iterdir()] == ["surrogates.safetensors"]
        gone = purge_images(ledger, [ledger.state.find("R0001")])
        assert "cache/surrogates.safetensors" in [file.path for file in gone]
        (project / "cache" / "surrogates.safetensors").write_bytes(b"surrogates")
        assert [file.path for file in purge_due(ledger)] == ["cache/surrogates.safetensors"]


def test_duplicates_are_found_in_the_request_and_in_earlier_ones(project, rows_of, options):
    rows = rows_of(6, seed=0)
    noise = torch.randint(-1, 2, rows.x[:1].shape, generator=torch.Generator().manual_seed(0)) / 255
    near = (rows.x[:1] + noise).clamp(0, 1)
    with writing(project) as ledger:
        add(ledger, rows.rows([0, 1]), options.keeping)
        request = ForgetSet(("same", "again", "near"), torch.cat([rows.x[1:2], rows.x[1:2], near]), rows.y[[1, 1, 0]])
        found = {(match.id, match.place, match.other, match.bits is None) for match in find_duplicates(ledger, request)}
        assert {
            ("again", HERE, "same", True),
            ("same", "R0001", "row-1", True),
            ("near", "R0001", "row-0", False),
        } <= found
        assert purge_fingerprints(ledger, [ledger.state.find("R0001")]) == 1
        left = {(match.id, match.place) for match in find_duplicates(ledger, request)}
        assert ("near", "R0001") not in left
        assert ("same", "R0001") in left


def test_rows_that_do_not_fit_are_refused_before_anything_is_written(project, rows_of, options):
    rows = rows_of(6, seed=0)
    with writing(project) as ledger:
        with pytest.raises(ForgetSetError, match=r"labels in 0\.\.2"):
            add(ledger, ForgetSet(("a",), rows.x[:1], torch.tensor([3])), options.plain)
        with pytest.raises(ForgetSetError, match="predicted as labelled"):
            add(ledger, ForgetSet(rows.ids, rows.x, (rows.y + 1) % 3), options.plain)
        add(ledger, rows, options.plain)
        with pytest.raises(LedgerError, match=r"expected the shape \(3, 6, 5\) of earlier requests"):
            add(ledger, ForgetSet(("a",), torch.rand(1, 3, 5, 6), torch.tensor([0])), options.plain)
        with pytest.raises(LedgerError, match=r"expected R0001..R0001, got R0009"):
            ledger.state.find("R0009")
        assert len(ledger.entries) == 3


def test_drift_is_measured_on_test_data_and_held_against_the_budget_or_estimated_on_surrogates(
    plan, tmp_path, rows_of, options
):
    for number, changed in enumerate(({"budget": 0.001}, {"data": None, "budget": 0.001})):
        create_project(tmp_path / str(number), replace(plan, **changed))
        with writing(tmp_path / str(number)) as ledger:
            add(ledger, rows_of(30, seed=0), options.plain)
            drift = apply_waiting(ledger, Runtime()).versions[0].figures["drift"]
        assert drift["measured_on"] == ("test data", "surrogates")[number]
        assert drift["over_budget"] is (True, None)[number]
        assert (drift["accuracy"] is None) is (number == 1)
        spent = drift["churn"] if number else drift["accuracy_first"] - drift["accuracy"]
        assert drift["spent"] == pytest.approx(spent)


def test_purging_versions_ends_the_way_back_and_drift_goes_on(three, rows_of, options):
    with writing(three) as ledger:
        newest, spent = ledger.state.weights_sha256, ledger.state.lineage()[-1].figures["drift"]["spent"]
        gone = purge_versions(ledger)
        assert len(gone) == 4
        assert [path.name[:5] for path in (three / "versions").iterdir()] == ["first"]
        assert ledger.state.weights_sha256 == newest
        with pytest.raises(LedgerError, match="`purge --versions` deleted what led to 3"):
            undo(ledger)
        with pytest.raises(LedgerError, match="expected the versions since it was applied"):
            withdraw(ledger, "R0001", "", Runtime())
        with pytest.raises(LedgerError, match="expected versions to delete, got none"):
            purge_versions(ledger)
        rows = rows_of(60, seed=0)
        right = (classifier_of(ledger)(rows.x).argmax(dim=1) == rows.y).nonzero().flatten().tolist()
        add(ledger, rows.rows(right[-1:]), options.keeping)
        with pytest.raises(LedgerError, match="expected the first classifier and all patches"):
            apply_waiting(ledger, Runtime(), start=Start.FIRST)
        (version,) = apply_waiting(ledger, Runtime()).versions
        drift = version.figures["drift"]
        assert drift["spent"] == pytest.approx(spent + drift["accuracy_first"] - drift["accuracy"])
        undo(ledger)
        assert ledger.state.weights_sha256 == newest
    assert verify_project(Ledger.open(three)).problems == ()


def test_what_was_forgotten_before_the_versions_were_purged_stays_forgotten_when_one_is_withdrawn(
    project, rows_of, options
):
    rows = rows_of(60, seed=0)
    with writing(project) as ledger:
        for number in range(3):
            add(ledger, rows.rows(range(4 * number, 4 * number + 4)), options.keeping)
        apply_waiting(ledger, Runtime(), names=["R0001"])
        purge_versions(ledger)
        apply_waiting(ledger, Runtime(), batch=1)
        (version,) = withdraw(ledger, "R0002", "a mistake", Runtime()).versions
        assert (version.requests, version.figures["checked"]) == (("R0003",), 4)
        assert find_lost(classifier_of(ledger), {"R0001": load_rows(ledger, ledger.state.find("R0001"))}) == {}
    assert verify_project(Ledger.open(project)).problems == ()


def test_names_of_files_are_numbered(rows_of):
    rows = rows_of(3, seed=0)
    named = ForgetSet(("anna_mueller_1987.png", "2", "cats/17"), rows.x, rows.y)
    assert number_names(named).ids == ("1", "2", "3")


def test_every_version_can_be_rebuilt_from_the_first_classifier(three):
    ledger = Ledger.open(three)
    for number in range(4):
        rebuild(ledger, number)
    assert date.fromisoformat(ledger.state.find("R0001").keep_until).year == 2999
