"""`expunge requests list`; needs no torch, so it comes at once."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import click

from expunge.cli.requests import options
from expunge.requests.project import Ledger
from expunge.requests.state import LedgerState, Request, State

COLUMNS = ("request", "state", "instances", "goal", "version", "images", "received", "reference")


@click.command()
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@options.project
def command(project: Path, state: str | None, as_json: bool) -> None:
    """List the requests: what state they are in, which version forgot them, whether their images are still kept."""
    ledger = Ledger.open(project)
    requests = [one for one in ledger.state.requests.values() if state is None or one.state == state]
    rows = [_row(request) for request in requests]
    if as_json:
        click.echo("\n".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows))
        return
    table = [COLUMNS, *rows]
    widths = [max(len(str(row[column])) for row in table) for column in range(len(COLUMNS))]
    lines = ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    click.echo("\n".join(line.rstrip() for line in lines))
    for line in _summary(ledger.state):
        click.echo(line)


def _row(request: Request) -> tuple[str | int, ...]:
    return (
        request.name,
        request.state.value,
        len(request.instances),
        request.goal,
        "" if request.version is None else request.version,
        "" if request.images is None else f"until {request.keep_until}" if request.keep_until else "until verified",
        request.received[:10],
        request.reference,
    )


def _summary(state: LedgerState) -> list[str]:
    lines = [f"version {state.newest} ({state.weights_sha256[:12]}...)"]
    lineage = state.lineage()
    if lineage:
        drift = lineage[-1].figures["drift"]
        lines.append(f"drift: {drift['spent']:.2f} of {drift['budget']:g} points on {drift['measured_on']}")
        if drift["over_budget"]:
            lines.append("over the budget: it is time to retrain")
    today = datetime.now(UTC).date()
    overdue = [
        request.name
        for request in state.in_state(State.VERIFIED)
        if request.images is not None and request.keep_until and date.fromisoformat(request.keep_until) < today
    ]
    if overdue:
        lines.append(f"images past their date: {', '.join(overdue[:10])}; `expunge requests purge`")
    return lines
