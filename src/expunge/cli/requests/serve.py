"""`expunge requests serve`: the desk. It needs no torch; its worker does."""

from pathlib import Path

import click

from expunge.cli.requests import device_option, port_option, project_option
from expunge.cli.requests.sources import absolute_source
from expunge.cli.say import say
from expunge.requests.desk.app import LOOPBACK
from expunge.requests.desk.serve import serve


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen at; others see this one only."
)
@port_option
@click.option(
    "--name", "names", multiple=True, help="A further name that the server goes by, as behind a proxy; may repeat."
)
@click.option("--against", metavar="SOURCE", help="The training data, to look for copies in.  [default: the project's]")
@project_option
@device_option
def command(host: str, port: int, names: tuple[str, ...], against: str | None, project: Path, device: str) -> None:
    """Open a desk for the project on this machine: pages for colleagues, and a REST API.

    Nobody may do anything there without a link that `expunge requests invite` makes. The connection is not encrypted:
    for other machines, put a proxy with TLS before it and name it by --name.

    What takes long is done by one worker process, which goes on when the server stops.
    """
    say(f"http://{host}:{port}; Ctrl-C ends it")
    if host not in LOOPBACK:
        say("note: other machines reach this address, and the connection is not encrypted", err=True)
    source = None if against is None else absolute_source(against)
    serve(project.resolve(), host=host, port=port, names=[*names, host], against=source, device=device)
