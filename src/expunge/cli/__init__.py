"""The command line. Nothing is imported for a command that isn't called, so that help comes at once."""

import importlib
import os
import sys
import warnings
from collections.abc import Mapping
from typing import ClassVar

import click

from expunge._version import __version__
from expunge.base.errors import ExpungeError, ExpungeWarning, RuinedError, suggest
from expunge.cli.flags import in_flags
from expunge.cli.say import say
from expunge.cli.termination import terminable

COMMANDS = {
    "run": ("expunge.cli.run", "Edit a classifier so that chosen instances are forgotten."),
    "audit": ("expunge.cli.audit", "Compare a classifier before and after an edit."),
    "export": ("expunge.cli.export", "Write an edited classifier in the formats that others load."),
    "demo": ("expunge.cli.demo", "Forget 16 handwritten digits, with nothing but this package."),
    "bench": ("expunge.cli.bench", "Run a grid of edits, and make tables and plots of it."),
    "train": ("expunge.cli.train", "Train a classifier, with or without some images."),
    "tune": ("expunge.cli.tune", "Search a method's settings on forget sets of its own."),
    "requests": (
        "expunge.cli.requests",
        "Keep a ledger of deletion requests, with versions of the classifier and undo.",
    ),
    "report": ("expunge.cli.report:report", "Write the page of an audit again."),
    "compare": ("expunge.cli.report:compare", "Set several audits side by side in one page."),
    "methods": ("expunge.cli.methods", "List the methods, or the settings of one."),
}
EXIT_BAD_INPUT = 2
EXIT_GOAL_NOT_REACHED = 3
EXIT_CELLS_FAILED = 4
EXIT_RUINED = 5
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
EXIT_TERMINATED = 143


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    The table holds for each name the command's module and a line of help; the command is the module's `command`, or
    the function that stands after a colon.
    """

    table: ClassVar[Mapping[str, tuple[str, str]]] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        if cmd_name not in self.table:
            return None
        module, _, name = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name or "command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begin with; the error of an unknown one names the nearest."""
        if args and not args[0].startswith("-") and args[0] not in self.table:
            hint = suggest(args[0], self.table)
            ctx.fail(f"No such command '{args[0]}'." + (f" {hint[:1].upper()}{hint[1:]}" if hint else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Call the command; an error of the package names the command's flags rather than fields."""
        try:
            return super().invoke(ctx)
        except ExpungeError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            if command is None:
                raise
            raise in_flags(error, command) from error
        except BrokenPipeError:  # before click takes it for an error of its own
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be written goes nowhere
            raise click.exceptions.Exit(EXIT_PIPE) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="expunge")
def group() -> None:
    """Make a trained image classifier forget chosen training instances, without retraining it.

    Exit codes: 0 the goal was reached; 2 bad usage or input; 3 the goal was not reached; 4 cells of a grid
    failed; 5 the classifier is ruined, whatever the goal says; 130 interrupted; 143 the same by SIGTERM.
    """


def main() -> None:
    """Run the command line and exit with its code; SIGTERM does what Ctrl-C does."""
    warnings.showwarning = _show_warning
    with terminable() as told:
        code = _run()
    sys.exit(EXIT_TERMINATED if told.asked and code == EXIT_INTERRUPTED else code)


def _run() -> int:
    """Return the exit code of the command that this process was called with."""
    try:
        code = group(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ExpungeError as error:
        _fail(str(error))
        code = EXIT_RUINED if isinstance(error, RuinedError) else EXIT_BAD_INPUT
    except OSError as error:
        where = error.filename or "files"
        code = _fail(f"`{where}`: expected a file or folder that can be used, got {error.strerror or error}")
    except (MemoryError, RecursionError, OverflowError) as error:
        said = f"{type(error).__name__} {error}".strip()
        code = _fail(f"`inputs`: expected what this machine can hold, got {said}; take smaller numbers or files")
    except SystemExit as error:
        code = _fail(f"`code`: expected functions that return, got one that ends the program (exit {error.code})")
    except (KeyboardInterrupt, click.Abort):
        say("interrupted: there was no edited state to save", err=True)
        code = EXIT_INTERRUPTED
    return code or 0


def _fail(message: str) -> int:
    say(f"error: {message}", err=True)
    return EXIT_BAD_INPUT


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    if issubclass(category, ExpungeWarning):
        say(f"note: {message}", err=True)
