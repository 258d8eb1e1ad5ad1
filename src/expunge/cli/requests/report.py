"""What `apply` and `withdraw` print."""

import click

from expunge.cli import EXIT_GOAL_NOT_REACHED
from expunge.requests.apply import Report
from expunge.requests.state import Version


def show_report(report: Report) -> int:
    """Print what was done and return the exit code."""
    for version in report.versions:
        _show_version(version)
    for name, reason in report.failed.items():
        click.echo(f"{name}: failed: {reason}; the classifier was left as it was", err=True)
    for name in report.without_images:
        click.echo(f"{name}: has no images; give them once more: expunge requests add --again {name}", err=True)
    if report.deleted:
        click.echo(f"deleted {len(report.deleted)} files; the ledger has their hashes")
    return EXIT_GOAL_NOT_REACHED if report.failed or report.without_images else 0


def _show_version(version: Version) -> None:
    figures, drift = version.figures, version.figures["drift"]
    click.echo(f"version {version.number}: {', '.join(version.requests)} forgotten, {figures['steps']} steps")
    if figures["checked"]:
        click.echo(
            f"  {figures['checked']} earlier rows checked, {len(figures['repaired'])} came back and were repaired"
        )
    for row in figures["repaired"]:
        click.echo(f"    repaired {row}")
    if figures["uncheckable"]:
        click.echo(f"  not checked, since their images are gone: {', '.join(figures['uncheckable'])}")
    accuracy = (
        "" if drift["accuracy"] is None else f" (accuracy {drift['accuracy_first']:.2f} -> {drift['accuracy']:.2f})"
    )
    click.echo(f"  drift: {drift['spent']:.2f} of {drift['budget']:g} points on {drift['measured_on']}{accuracy}")
    if drift["over_budget"]:
        click.echo("  over the budget: it is time to retrain")
