"""`expunge requests apply`, `undo`, `withdraw` and `purge`: what changes a project once requests are in it."""

from collections.abc import Sequence
from pathlib import Path

import click

from expunge.base.words import plural
from expunge.cli import EXIT_GOAL_NOT_REACHED, EXIT_RUINED
from expunge.cli.requests import batch_size_option, device_option, project_option, wait_option
from expunge.cli.say import say
from expunge.compute.bars import Bars
from expunge.compute.runtime import Runtime
from expunge.requests.apply import Report, apply_waiting
from expunge.requests.health import HINT
from expunge.requests.place import CACHE_FOLDER
from expunge.requests.purge import (
    purge_due,
    purge_fingerprints,
    purge_images,
    purge_keepers,
    purge_quarantine,
)
from expunge.requests.rebase import purge_versions
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo, withdraw
from expunge.requests.state import State, StoredFile, Version
from expunge.requests.telling import is_over, say_drift, say_lacking_approval, tell_unchanged
from expunge.requests.versions import Start


@click.command()
@click.argument("requests", nargs=-1)
@click.option("--batch", type=click.IntRange(min=1), help="At most so many requests in one version.  [default: all]")
@click.option(
    "--from",
    "start",
    type=click.Choice([start.value for start in Start]),
    default=Start.NEWEST.value,
    show_default=True,
    help="Edit the newest version, or the first classifier, so that it forgets all images together: less damage after "
    "many requests, more time, and the images of all earlier requests must be kept.",
)
@project_option
@wait_option
@device_option
@batch_size_option
def apply_command(  # noqa: PLR0913 - one for each option
    requests: tuple[str, ...],
    batch: int | None,
    *,
    start: str,
    project: Path,
    wait: float,
    device: str,
    batch_size: int,
) -> int:
    """Apply all waiting requests, or these REQUESTS (failed ones, too), and make the next version of the classifier.

    Every earlier row whose images are kept is checked, and forgotten again in the same run if it came back; requests
    without images are named as not checked. What was applied is verified in the weights as they are on the disk.
    An edit that ruins the classifier is not taken: it stays as it was, and the requests have failed (exit code 5).
    Then images that nothing keeps are deleted.
    """
    runtime = Runtime.on(device, batch_size=batch_size, progress=Bars())
    with writing(project, wait_seconds=wait) as ledger:
        report = apply_waiting(ledger, runtime, names=requests, batch=batch, start=Start(start))
        unapproved = [] if requests else say_lacking_approval(ledger.state)
    if not report.versions and not report.failed and not report.without_images:
        say("nothing is to be applied" if unapproved else "nothing is waiting")
    for line in unapproved:
        say(line)
    return _show_report(report)


@click.command()
@project_option
@wait_option
def undo_command(project: Path, wait: float) -> None:
    """Restore the weights before the newest version, bit for bit; its requests wait again.

    A request that should not be applied again: `expunge requests withdraw`.
    """
    with writing(project, wait_seconds=wait) as ledger:
        version = undo(ledger)
        say(f"version {version.number} undone: {', '.join(version.requests)} wait again")
        say(f"version {ledger.state.newest} ({ledger.state.weights_sha256[:12]}...)")


@click.command()
@click.argument("request")
@click.option("--reason", default="", help="Why, for the ledger.")
@project_option
@wait_option
@device_option
@batch_size_option
def withdraw_command(request: str, reason: str, project: Path, wait: float, device: str, batch_size: int) -> int:
    """Take a REQUEST back. If it was applied, later versions are made anew without it, which needs their images."""
    runtime = Runtime.on(device, batch_size=batch_size, progress=Bars())
    with writing(project, wait_seconds=wait) as ledger:
        report = withdraw(ledger, request, reason, runtime)
        say(f"{request}: withdrawn; version {ledger.state.newest} ({ledger.state.weights_sha256[:12]}...)")
    return _show_report(report)


@click.command()
@click.argument("requests", nargs=-1)
@click.option("--now", is_flag=True, help="Images of all verified requests, whatever date they were to be kept until.")
@click.option("--fingerprints", is_flag=True, help="Perceptual hashes too; near duplicates are then no longer found.")
@click.option("--versions", is_flag=True, help="First weights and patches too; then there is no way back.")
@click.option("--keepers", is_flag=True, help="What is kept in place of images too; later edits can bring them back.")
@click.option("--quarantine", is_flag=True, help="Files too that no entry names, which were put aside.")
@project_option
@wait_option
def purge_command(  # noqa: PLR0913 - one for each option
    requests: tuple[str, ...],
    *,
    now: bool,
    fingerprints: bool,
    versions: bool,
    keepers: bool,
    quarantine: bool,
    project: Path,
    wait: float,
) -> None:
    """Delete kept images whose date has passed, or those of these REQUESTS, and every cache made meanwhile.

    `apply` does so by itself for requests without --keep-until. The ledger keeps path, hash and size of what went.
    Deleting a file does not overwrite the disk, and backups stay. Older versions' weights and patches, from which a
    forgotten picture could be rebuilt, are sealed with the key and stay, since undo needs them; --versions deletes
    them.
    """
    with writing(project, wait_seconds=wait, making_room=True) as ledger:
        state = ledger.state
        chosen = [state.find(name) for name in requests]
        done = state.in_state(State.VERIFIED, State.WITHDRAWN)
        deleted = purge_versions(ledger) if versions else []  # first, since it may refuse
        deleted += purge_images(ledger, chosen or done) if requests or now else purge_due(ledger)
        deleted += purge_keepers(ledger, chosen or done) if keepers else []
        for file in deleted:
            say(f"deleted {file.path}  {file.sha256[:16]}...  {file.bytes} bytes")
        if fingerprints:
            count = purge_fingerprints(ledger, chosen or done)
            say(f"deleted the perceptual hashes of {count} requests")
        for path in purge_quarantine(ledger) if quarantine else ():
            say(f"deleted {path}")
        if not deleted and not fingerprints and not quarantine:
            say("nothing is due")


def _show_report(report: Report) -> int:
    """Print what was done and return the exit code."""
    for version in report.versions:
        _show_version(version)
    for name, reason in report.failed.items():
        say(f"{name}: failed: {reason}; the classifier was left as it was", err=True)
    if report.ruined:
        say(f"{', '.join(report.ruined)}: {HINT}", err=True)
    for name in report.without_images:
        say(f"{name}: has no images; give them once more: expunge requests add --again {name}", err=True)
    _show_deleted(report.deleted)
    if report.error is not None:
        say(f"error: {report.error}", err=True)
        say("note: that ended the command; what it had done by then holds, and the other requests wait", err=True)
    if report.ruined:
        return EXIT_RUINED
    return EXIT_GOAL_NOT_REACHED if report.failed or report.without_images or report.error else 0


def _show_deleted(deleted: Sequence[StoredFile]) -> None:
    cached = sum(file.path.startswith(f"{CACHE_FOLDER}/") for file in deleted)
    counts = (len(deleted) - cached, "images"), (cached, "unsealed surrogates")
    told = " and ".join(f"{plural(count, 'file')} of {what}" for count, what in counts if count)
    if told:
        say(f"deleted {told}; the ledger has their hashes")


def _show_version(version: Version) -> None:
    figures, drift = version.figures, version.figures["drift"]
    say(f"version {version.number}: {', '.join(version.requests)} forgotten, {figures['steps']} steps")
    for name, sentence in tell_unchanged(version).items():
        say(f"  {name}: {sentence}")
    if figures["checked"]:
        say(f"  {figures['checked']} earlier images checked, {len(figures['repaired'])} came back and were repaired")
    for row in figures["repaired"]:
        say(f"    repaired {row}")
    if figures["uncheckable"]:
        say(f"  not checked, since their images are gone: {', '.join(figures['uncheckable'])}")
    for line in say_drift(drift, accuracy=True):
        say(f"  {line}")
    if is_over(drift):
        say("  over the budget: it is time to retrain; `expunge requests plan` says what that needs")
