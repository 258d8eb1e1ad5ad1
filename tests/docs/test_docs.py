"""The pages for readers: their links, paths, tables, snippets, commands and settings are those of the package."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
import torch
from torch import nn

import expunge
from expunge.base.settings import describe_settings
from expunge.cli import group
from expunge.compute.runtime import SILENT
from expunge.jobs import demo
from expunge.methods import METHODS, OWN
from expunge.methods.unlearn import DEFAULT_METHOD
from expunge.training import Recipe

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "expunge"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
]
TOPS = {"src", "tests", "docs", "benchmarks", *(path.name for path in PACKAGE.iterdir() if path.is_dir())}
OTHER_PROGRAMS = {"--nproc-per-node"}
WRITTEN_BY_USERS = {"second-best"}
SETTINGS = {method.name: {item.name for item in describe_settings(method)} for method in OWN}
RECIPE = {item.name for item in describe_settings(Recipe)}


def every_page(test):
    """Run a test once for each page."""
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))(test)


def read(page):
    return page.read_text("utf-8")


def blocks(page, language):
    """Return the code of every fenced block of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), flags=re.DOTALL | re.MULTILINE)


def prose(page):
    """Return the page without its fenced and its indented code."""
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^    \S.*$", "", text, flags=re.MULTILINE)


def spans(page):
    """Return what stands in backticks, line breaks as spaces."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


# Links, files and tables


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_and_pictures_are_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@every_page
def test_files_that_are_named_are_there(page):
    for span in spans(page):
        if re.fullmatch(r"[\w.-]+\.py", span):
            assert any((ROOT / top).glob(f"**/{span}") for top in ("src", "tests", "benchmarks")), span
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", span) or span.split("/")[0] not in TOPS | {"figures"}:
            continue
        if re.search(r"\b(NAME|DIR|FILE)\b", span):
            continue
        assert any((folder / span).exists() for folder in (ROOT, page.parent, PACKAGE)), span


@every_page
def test_lines_of_a_table_have_equally_many_cells(page):
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        lines = table.splitlines()
        assert re.fullmatch(r"\|( ?:?-+:? ?\|)+", lines[1] if len(lines) > 1 else ""), f"no head: {lines[0]}"
        counts = {line: len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert set(counts.values()) == {counts[lines[0]]}, [line for line in lines if counts[line] != counts[lines[0]]]


# Python


@every_page
def test_snippets_compile_and_import_what_is_there(page):
    for code in blocks(page, "python"):
        indented = code.startswith(" ")
        tree = ast.parse("class _:\n" + code if indented else code)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("expunge"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "expunge":
                assert hasattr(expunge, node.attr), ast.unparse(node)


class _ToPixels(nn.Module):
    """Undo the normalisation of the README's example, since the demo's network takes pixels."""

    def forward(self, x):
        return x * 0.25 + 0.5


def test_the_first_lines_of_the_readme_run_as_they_stand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks(ROOT / "README.md", "python")[0]
    exec(code, {})  # noqa: S102 - the text of the README
    assert capsys.readouterr().out.strip() == re.search(r"print\(.*\)  # (.*)", code)[1]
    assert (tmp_path / "edited-digits" / "result.json").exists()
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_the_example_of_the_readme_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EPOCHS", 3)
    digits = demo.load_digit_images().train
    trained = demo.train_digit_classifier(digits, seed=0, progress=SILENT).network
    images, labels = digits.pixels[:4], digits.labels[:4]
    scope = {"my_network": nn.Sequential(_ToPixels(), trained).eval(), "images": images, "labels": labels}
    code = blocks(ROOT / "README.md", "python")[1]
    quick = code.replace("seed=0)", 'seed=0, method="l2ul")')
    assert quick != code
    exec(quick, scope)  # noqa: S102 - the text of the README
    assert capsys.readouterr().out.strip() == re.search(r"print\(.*\)  # (.*)", code)[1]
    assert {"model.safetensors", "patch.safetensors", "predictions.csv", "result.json"} <= {
        path.name for path in (tmp_path / "edited").iterdir()
    }
    with torch.no_grad():
        answers = scope["my_network"]((images - 0.5) / 0.25).argmax(1)
    assert not (answers == labels).any()


def test_the_example_of_an_audit_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks(ROOT / "docs" / "audit.md", "python")[0]
    exec(code, {})  # noqa: S102 - the text of the page
    assert capsys.readouterr().out.splitlines()[0] == re.search(r"print\(.*\)  # (.*)", code)[1]
    assert (tmp_path / "edited" / "audit" / "report.html").exists()


# Commands and settings


def commands(page):
    """Return the words of every command that begins with expunge, in blocks of code and in backticks."""
    text = read(page)
    code = re.findall(r"^    .*\S.*$", text, flags=re.MULTILINE) + re.findall(
        r"^```(?:sh)?\n(.*?)^```", text, re.S | re.M
    )
    lines = "\n".join(code).replace("\\\n", " ").splitlines()
    lines = [re.sub(r"^.*; do (.*); done$", r"\1", line.strip()) for line in lines]
    mentioned = [f"{span} VALUE" if re.search(r" --[a-z-]+$", span) else span for span in spans(page)]
    found = [line for line in [*lines, *mentioned] if line.startswith("expunge ")]
    return [[word for word in shlex.split(line, comments=True)[1:] if word != "..."] for line in found]


def parse(words):
    """Return the command that these words call and the values of its options by name; unknown flags are errors."""
    command, context = group, click.Context(group)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, name
        context = click.Context(command, parent=context, info_name=name)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    for option in command.params:
        for value in values.get(option.name) or () if option.multiple else (values.get(option.name),):
            if isinstance(option.type, click.Choice) and value and not value.isupper() | (value in WRITTEN_BY_USERS):
                assert set(value.split("|")) <= set(option.type.choices), value
    return context, values, rest


def known_settings(context, values, rest):
    """Return the names that --set may have in a command, or None where the method is not the package's own."""
    if context.info_name in ("train", "audit"):
        return RECIPE
    method = values.get("method") or (rest[0] if context.info_name == "tune" and rest else DEFAULT_METHOD)
    return SETTINGS.get(method)


@every_page
def test_commands_can_be_called_so(page):
    for words in commands(page):
        context, values, rest = parse(words)
        known = known_settings(context, values, rest)
        for pair in values.get("settings") or ():
            assert known is None or pair.partition("=")[0] in known, (words, pair)


def all_flags(command=group):
    """Return the flags of a command, or of all commands of a group."""
    flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        parts = (command.get_command(context, name) for name in command.list_commands(context))
        flags = flags.union(*(all_flags(part) for part in parts))
    return flags


@every_page
def test_flags_and_settings_in_backticks_exist(page):
    known = all_flags() | OTHER_PROGRAMS | {"--help"}
    every = RECIPE.union(*SETTINGS.values())
    for span in spans(page):
        for flag in re.findall(r"(?:^|(?<=\s))--[a-z][a-z0-9-]*", span):
            assert flag in known, span
        for name in re.findall(r"--set ([a-z_.]+)=", span):
            assert name in every or any(user in span for user in WRITTEN_BY_USERS), span


@pytest.mark.parametrize("name", ["methods", "authors"])
def test_the_pages_of_methods_name_every_method_and_only_settings_that_exist(name):
    found, every = spans(ROOT / "docs" / f"{name}.md"), set().union(*SETTINGS.values())
    if name == "methods":
        assert set(METHODS) & set(SETTINGS) <= set(found)
    for span in found:
        if named := re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)*)=\S+", span):
            assert named[1] in every, span


@pytest.mark.parametrize("words", [["run", "--forget-row", "3"], ["demo", "--inputs"], ["unlearn"]])
def test_a_command_that_does_not_exist_is_found(words):
    with pytest.raises((click.UsageError, AssertionError)):
        parse(words)
