"""Figures of the package's layout, to compare two checkouts: `python benchmarks/layout.py [src/expunge ...]`.

Only the standard library is needed. A name at the top is a module or package right inside the folder. The longest
chain counts modules, each of which imports the next; imports inside functions and under TYPE_CHECKING do not count.
A duplicate is a run of six or more lines that stands in two places, blank lines, comments and imports left out.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

THIN, RUN, LONG = 40, 6, 40
Place = tuple[str, int]


def main(folders: list[str]) -> None:
    """Print the figures of each folder as a column; the folders as named."""
    columns = [measure(Path(folder)) for folder in folders]
    for name in columns[0]:
        print(f"{name:<36}" + "".join(f"{column[name]:>10}" for column in columns))


def measure(root: Path) -> dict[str, int]:
    """Return the figures of the package in `root` by name."""
    texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in sorted(root.rglob("*.py"))}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    rooms = {name: text for name, text in texts.items() if not name.endswith("__init__.py")}
    return {
        "names at the top": len({name.split("/")[0] for name in texts if not Path(name).name.startswith("_")}),
        "files": len(texts),
        f"files under {THIN} lines": sum(len(text.splitlines()) < THIN for text in rooms.values()),
        "lines": sum(len(text.splitlines()) for text in texts.values()),
        "longest chain of imports": longest_chain(root.name, trees),
        f"duplicates of {RUN} or more lines": len(find_duplicates(texts)),
        f"functions over {LONG} lines": sum(each > LONG for tree in trees.values() for each in lengths(tree)),
    }


def lengths(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of each function, decorators and docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1:2] if ast.get_docstring(node) is not None else []
            skipped = first[0].lineno - node.body[0].lineno if first else 0
            yield (node.end_lineno or node.lineno) - node.lineno + 1 - skipped


def longest_chain(package: str, trees: dict[str, ast.Module]) -> int:
    """Return how many modules the longest chain of imports has."""
    files = {module_name(package, file): tree for file, tree in trees.items()}
    targets = {name: set(find_imports(name, tree, set(files))) - {name} for name, tree in files.items()}
    under_way: set[str] = set()

    @cache
    def length(name: str) -> int:
        under_way.add(name)
        found = 1 + max((length(each) for each in targets[name] if each not in under_way), default=0)
        under_way.remove(name)
        return found

    return max(map(length, files))


def module_name(package: str, file: str) -> str:
    """Return the dotted name of a file.

    >>> module_name("expunge", "task/__init__.py")
    'expunge.task'
    """
    return ".".join((package, *file.removesuffix(".py").removesuffix("__init__").strip("/").split("/"))).rstrip(".")


def find_imports(own: str, tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """Yield the modules that are imported when the module is; `from package import module` names the module."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            deeper = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (each if each in modules else node.module for each in deeper if node.module in modules)


def find_duplicates(texts: dict[str, str]) -> list[tuple[Place, Place, int]]:
    """Return pairs of places with the same run of lines, and its length; the longest run of each pair once."""
    lines = {name: list(code_lines(text)) for name, text in texts.items()}
    starts = defaultdict(list)
    for name, own in lines.items():
        for at in range(len(own) - RUN + 1):
            starts[tuple(text for _, text in own[at : at + RUN])].append((name, at))
    pairs = {(one, two) for places in starts.values() for number, one in enumerate(places) for two in places[:number]}
    found = []
    for one, two in sorted(pairs):
        if ((one[0], one[1] - 1), (two[0], two[1] - 1)) in pairs:
            continue  # inside a run that begins earlier
        length = RUN
        while ((one[0], one[1] + length - RUN + 1), (two[0], two[1] + length - RUN + 1)) in pairs:
            length += 1
        found.append(((one[0], lines[one[0]][one[1]][0]), (two[0], lines[two[0]][two[1]][0]), length))
    return found


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and stripped text of each line of code that says something."""
    tree = ast.parse(text)
    imports = (node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    skipped = {line for node in imports for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if number not in skipped and any(letter.isalnum() for letter in bare) and not bare.startswith("#"):
            yield number, bare


if __name__ == "__main__":
    main(sys.argv[1:] or [str(Path(__file__).parent.parent / "src" / "expunge")])
