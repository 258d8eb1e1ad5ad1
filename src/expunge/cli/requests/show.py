"""`expunge requests show`; needs no torch."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from expunge.cli.requests import options
from expunge.requests.project import Ledger


@click.command()
@click.argument("request")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@options.project
def command(request: str, project: Path, as_json: bool) -> None:
    """Show one REQUEST (such as R0003): instances, settings, figures, history."""
    found = Ledger.open(project).state.find(request)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    click.echo(f"{found.name}: {found.state}" + (f" in version {found.version}" if found.version else ""))
    click.echo(f"reference  {found.reference}")
    click.echo(
        f"goal       {found.goal}, {found.how['strength']}, by {found.how['method']} with seed {found.how['seed']}"
    )
    if found.figures:
        exact, robust = found.figures["goal_achieved"], found.figures["goal_achieved_robust"]
        click.echo(f"holds      {100 * exact:.1f}% of the exact pixels, {100 * robust:.1f}% of fresh copies")
    click.echo(f"images     {found.images.path if found.images else 'deleted'}")
    for one in found.instances:
        new = "" if one.new_label is None else f" -> {one.new_label}"
        click.echo(f"instance   {one.id}  label {one.label}{new}  {one.content[:16]}...")
    for time, kind, body in found.history:
        what = body.get("reason") or body.get("path") or (f"version {body['version']}" if "version" in body else "")
        click.echo(f"{time[:19]}  {kind}  {what}".rstrip())
