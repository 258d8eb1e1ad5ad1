"""Attacks by text: ids, class names, labels and errors that want to be markup, formulas, commands or escapes."""

import contextlib
import csv
import io
import random
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from sample_audit import CLASSES, write_sample_audit
from table import Attack, Tried, Try

from expunge.base.cells import MARKED_STARTS, csv_text, escape_cell, unescape_cell
from expunge.bench.tables import LATEX, escape_latex, escape_markdown
from expunge.cli import main
from expunge.report import write_report, write_report_drawings

PARTS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "' onmouseover='alert(1)",
    "</title>", "</style>", "]]>", "<!--", "-->", "&lt;b&gt;", "&#0;", "{{7*7}}", "{% raw %}", "javascript:alert(1)",
    "\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "\r", "\n", "\x08\x08", "\u202e", "\u2028", "\x00", "\ufeff",
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "'", '"', ",", ";", "'tis", " lead",
    r"\input{/etc/passwd}", r"\write18{id}", "$x$", "%", "&", "#", "_", "{", "}", "~", "^", "[x]", "*", "<", ">", "|", "\\\\",
    "[a](javascript:b)", "`c`", "[bold]rich[/bold]", "[/]", "plain", "ü", "\U0001f600",
]  # fmt: skip
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _draw(draw: random.Random) -> str:
    return "".join(draw.choices(PARTS, k=draw.randint(1, 3)))


def _attack(wrong: Callable[[Path, random.Random], str]) -> Try:
    """Make `wrong` say what a hostile text achieved; nothing is what is wanted."""

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        try:
            return Tried(lost=wrong(place, draw))
        except Exception as error:
            return Tried(broken=f"{type(error).__name__}: {error}")

    return attempt


class _Elements(HTMLParser):
    """The elements of a page with the names of their attributes, without the text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, tuple[str, ...]]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.add((tag, tuple(sorted(name for name, _ in attrs))))


def _elements(page: str) -> set[tuple[str, tuple[str, ...]]]:
    parser = _Elements()
    parser.feed(page)
    return parser.found


def _hostile_audit(folder: Path, draw: random.Random) -> Path:
    ids = [f"{_draw(draw).replace(chr(0), '')}{number}" for number in range(12)]
    classes = tuple(f"{_draw(draw)}{number}" for number in range(len(CLASSES)))
    return write_sample_audit(folder / "audit", ids=ids, classes=classes, method=_draw(draw))


def page(folder: Path) -> Try:
    """Put hostile ids, class names and methods into the page of an audit: no element may be theirs."""
    known = _elements(write_report(write_sample_audit(folder / "plain")).read_text())

    def wrong(place: Path, draw: random.Random) -> str:
        content = write_report(_hostile_audit(place, draw)).read_text("utf-8")
        names = {name for _, attributes in _elements(content) for name in attributes}
        new = {tag for tag, _ in _elements(content)} - {tag for tag, _ in known}
        handlers = sorted(name for name in names if name.startswith("on"))
        seen = CONTROL.search(content)
        return (
            f"elements {new}" if new else f"handlers {handlers}" if handlers else f"control {seen[0]!r}" if seen else ""
        )

    return _attack(wrong)


def svg(folder: Path) -> Try:
    """Put them into drawings: each must be XML without scripts, handlers and links."""

    def wrong(place: Path, draw: random.Random) -> str:
        files = write_report_drawings(_hostile_audit(place, draw), place / "drawings")
        trees = [ET.fromstring(path.read_bytes()) for path in files]  # noqa: S314 - our own
        for element in (each for tree in trees for each in tree.iter()):
            name = element.tag.rpartition("}")[2]
            if name in ("script", "foreignObject", "image", "a") or any(key.startswith("on") for key in element.attrib):
                return f"element {name} {element.attrib}"
        return ""

    return _attack(wrong)


def terminal(folder: Path) -> Try:
    """Put them where commands print them: the terminal must get no control characters."""
    commands = [
        lambda text: ["report", text],
        lambda text: ["compare", text, text],
        lambda text: ["methods", text],
        lambda text: ["run", "--model", text, "--data", text, "--forget-random", "1", "--out", str(folder / "out")],
        lambda text: ["run", "--set", text, "--out", str(folder / "out")],
        lambda text: ["run", "--forget-indices", text, "--seed", text, "--out", str(folder / "out")],
    ]

    def wrong(place: Path, draw: random.Random) -> str:
        text, out = _draw(draw).replace("\x00", ""), io.StringIO()
        before = sys.argv
        sys.argv = ["expunge", *draw.choice(commands)(text)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
                main()
        finally:
            sys.argv = before
        seen = CONTROL.search(out.getvalue().replace("\n", ""))
        return f"{sys.argv} gave {seen[0]!r} in {out.getvalue()!r}" if seen else ""

    return _attack(wrong)


def tables(folder: Path) -> Try:
    """Put them into CSV: no cell may begin a formula, and each must come back."""

    def wrong(place: Path, draw: random.Random) -> str:
        cells = [_draw(draw) for _ in range(4)]
        path = place / "table.csv"
        path.write_bytes(csv_text([map(escape_cell, cells), ["end"]]).encode("utf-8", "surrogatepass"))
        read = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
        if len(read) != 2 or [unescape_cell(cell) for cell in read[0]] != cells:
            return f"{cells} came back as {read}"
        formulas = [cell for cell in read[0] if cell.startswith(MARKED_STARTS[:-1])]
        return f"formulas {formulas}" if formulas else ""

    return _attack(wrong)


def latex(folder: Path) -> Try:
    """Put them into LaTeX and Markdown: nothing in them may be a command."""
    escapes = sorted(LATEX.values(), key=len, reverse=True)

    def wrong(place: Path, draw: random.Random) -> str:
        text = _draw(draw)
        left = escape_latex(text)
        for escaped in escapes:
            left = left.replace(str(escaped), "")
        bare = re.search(r"[\\%$&#_{}~^\[\]\n\r]", left)
        if bare:
            return f"{text!r} became {escape_latex(text)!r}"
        markup = re.search(r"(?<!\\)[|`\[\]]|[<>\n]", escape_markdown(text).replace("\\\\", ""))
        return f"{text!r} became {escape_markdown(text)!r}" if markup else ""

    return _attack(wrong)


TOGETHER = 20
ATTACKS = [
    Attack("injections: page", page, 80, 3, TOGETHER),
    Attack("injections: SVG", svg, 60, 2, TOGETHER),
    Attack("injections: terminal", terminal, 80, 40, TOGETHER),
    Attack("injections: CSV", tables, 90, 90, TOGETHER),
    Attack("injections: LaTeX and Markdown", latex, 90, 90, TOGETHER),
]
