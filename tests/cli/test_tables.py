import sys

import click
import pytest
import rich.console

from expunge.base.settings import describe_settings
from expunge.cli.tables import show_table
from expunge.methods import METHODS

COLUMNS = ("name", "meaning")
ROWS = [("attack.targets_per_row", "adversarial\texamples\nof each"), ("rate", "[bold] step [/bold] size")]


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that sets the width of a terminal that standard output then is."""

    def make(width):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        plain = rich.console.Console
        monkeypatch.setattr(
            "expunge.cli.tables.Console", lambda: plain(width=width, force_terminal=True, no_color=True)
        )

    return make


def test_behind_a_pipe_a_table_is_lines_with_tabs(capsys):
    show_table(COLUMNS, ROWS, title="not for programs")
    wanted = "name\tmeaning\nattack.targets_per_row\tadversarial examples of each\nrate\t[bold] step [/bold] size\n"
    assert capsys.readouterr().out == wanted


@pytest.mark.parametrize("width", [None, 10, 200])
def test_a_terminal_obeys_nothing_that_stands_in_a_table(capsys, terminal, width):
    if width is not None:
        terminal(width)
    show_table(COLUMNS, [("a", "\x1b]0;owned\x07"), ("b" * 20, "\x1b[2J")], title="of [class] \x1b[31m")
    shown = click.unstyle(capsys.readouterr().out)
    assert not {"\x1b", "\x07"} & set(shown)
    assert "\\u001b]0;owned\\u0007" in shown
    assert "\\u001b[2J" in shown
    assert ("of [class] \\u001b[31m" in shown) == (width == 200)


def test_backslashes_before_brackets_are_shown(capsys, terminal):
    terminal(80)
    show_table(COLUMNS, [("\\[/]", "\\[red]x"), ("a[b]", "c\\")])
    shown = click.unstyle(capsys.readouterr().out)
    assert all(cell in shown for cell in ("\\[/]", "\\[red]x", "a[b]", "c\\"))


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_word_is_broken_at_any_width(capsys, terminal, width):
    terminal(width)
    show_table(COLUMNS, ROWS, title="a table")
    shown = capsys.readouterr().out
    words = {word for row in ROWS for cell in row for word in cell.split()}
    assert words <= set(shown.replace("│", " ").replace("┃", " ").replace(":", " ").split())
    assert "a table" in shown


@pytest.mark.parametrize("name", METHODS)
def test_names_of_settings_can_be_copied_at_80_columns(capsys, terminal, expunge, name):
    terminal(80)
    shown = click.unstyle(expunge("methods", name).out)
    words = set(shown.replace("│", " ").split())
    assert {item.name for item in describe_settings(METHODS[name])} <= words
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_names_of_methods_can_be_copied_at_80_columns(terminal, expunge):
    terminal(80)
    words = set(expunge("methods").out.replace("│", " ").split())
    assert set(METHODS) <= words
