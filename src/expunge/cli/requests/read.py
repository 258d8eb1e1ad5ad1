"""`expunge requests list`, `show` and `verify`: they only read, and need no torch, so they come at once."""

import json
import re
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

import click

from expunge.base.errors import LedgerError
from expunge.base.visible import visible
from expunge.cli import EXIT_BAD_INPUT
from expunge.cli.requests import project_option
from expunge.cli.say import say, say_lines
from expunge.requests.project import Ledger
from expunge.requests.state import LedgerState, Request, State
from expunge.requests.telling import is_over, newest_drift, say_drift, say_lacking_approval, unchanged_of
from expunge.requests.verify import verify_folder
from expunge.task.words import say_unchanged

COLUMNS = ("request", "state", "instances", "goal", "version", "images", "received", "reference")


@click.command()
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@project_option
def list_requests(project: Path, state: str | None, as_json: bool) -> None:
    """List the requests: what state they are in, which version forgot them, whether their images are still kept."""
    ledger = Ledger.open(project)
    requests = [one for one in ledger.state.requests.values() if state is None or one.state == state]
    rows = [_row(request) for request in requests]
    if as_json:
        say_lines("\n".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows))
        return
    table = [[visible(str(cell)) for cell in row] for row in (COLUMNS, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    for line in [*(line.rstrip() for line in lines), *_summary(ledger.state)]:
        say(line)


@click.command()
@click.argument("request")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@project_option
def show(request: str, project: Path, as_json: bool) -> None:
    """Show one REQUEST (such as R0003): instances, settings, figures, history."""
    ledger = Ledger.open(project)
    found = ledger.state.find(request)
    instances, history = ledger.instances(found), ledger.history(found)
    if as_json:
        told = {
            "unchanged": unchanged_of(ledger.state, found),
            "instances": [asdict(one) for one in instances],
            "history": history,
        }
        say_lines(json.dumps({**asdict(found), **told}, indent=2))
        return
    say(f"{found.name}: {found.state}" + (f" in version {found.version}" if found.version else ""))
    say(f"reference  {found.reference}")
    say(f"goal       {found.goal}, {found.how['strength']}, by {found.how['method']} with seed {found.how['seed']}")
    if found.figures:
        exact, robust = found.figures["goal_achieved"], found.figures["goal_achieved_robust"]
        say(f"holds      {100 * exact:.1f}% of the exact pixels, {100 * robust:.1f}% of fresh copies")
    unchanged = unchanged_of(ledger.state, found)
    if unchanged:
        say(f"unchanged  {say_unchanged(unchanged, found.rows)}")
    say(f"images     {found.images.path if found.images else 'deleted'}")
    for one in instances:
        new = "" if one.new_label is None else f" -> {one.new_label}"
        say(f"instance   {one.id}  label {one.label}{new}  {one.content[:16]}...")
    for time, kind, body in history:
        what = body.get("reason") or body.get("path") or (f"version {body['version']}" if "version" in body else "")
        clock = f"  (the clock was {body['clock']})" if "clock" in body else ""
        say(f"{time[:19]}  {kind}  {what}".rstrip() + clock)


@click.command()
@click.option("--head", help="A hash that an earlier `verify` printed, or its first 16 digits: it must still be there.")
@project_option
def verify(project: Path, head: str | None) -> int:
    """Find any later change: of an entry, of the end of the ledger, of hashes, weights, patches and kept images.

    Entries hold each other's hashes, made with the project's key: whoever changes one without the key is found out.
    Whoever has the key can write the chain anew; note the head that is printed somewhere else, and give it as --head.
    """
    if head is not None and not re.fullmatch("[0-9a-f]{16,64}", head):
        raise LedgerError("--head", "16 to 64 digits of a hash, 0-9 and a-f", head[:64] or "nothing")
    found = verify_folder(project, head)
    for problem in found.problems:
        say(f"error: {problem}", err=True)
    for text in found.unfinished:
        say(f"unfinished: {text}", err=True)
    if found.aside:
        say(f"note: {found.aside} files that no entry names are in quarantine/; `expunge requests purge --quarantine`")
    say(f"checked with the key {found.key}")
    say(f"{found.entries} entries, {found.files} files, {len(found.problems)} problems; head {found.head}")
    return EXIT_BAD_INPUT if found.problems or found.unfinished else 0


def _row(request: Request) -> tuple[str | int, ...]:
    return (
        request.name,
        request.state.value,
        request.rows,
        request.goal,
        "" if request.version is None else request.version,
        "" if request.images is None else f"until {request.keep_until}" if request.keep_until else "until verified",
        request.received[:10],
        request.reference,
    )


def _summary(state: LedgerState) -> list[str]:
    lines = [f"version {state.newest} ({state.weights_sha256[:12]}...)"]
    drift = newest_drift(state)
    if drift is not None:
        lines += say_drift(drift) + ["over the budget: it is time to retrain"] * bool(is_over(drift))
    lines += say_lacking_approval(state)
    today = datetime.now(UTC).date()
    overdue = [
        request.name
        for request in state.in_state(State.VERIFIED)
        if request.images is not None and request.keep_until and date.fromisoformat(request.keep_until) < today
    ]
    if overdue:
        lines.append(f"images past their date: {', '.join(overdue[:10])}; `expunge requests purge`")
    return lines
