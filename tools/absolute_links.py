"""Make a page's links to files of the repository absolute, for the package index: FILE REPOSITORY TAG."""

import re
import sys
from pathlib import Path

LINK = re.compile(r"(!?)(\[[^\]]*\]\()(?!https?://|#|mailto:)([^)\s]+)(\))")


def with_absolute_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose relative links point to the repository at `tag`, and pictures to their raw files.

    >>> with_absolute_links("[a](docs/a.md#b), ![p](docs/p.png), [c](https://c.org)", "https://host/me/it", "v1")
    '[a](https://host/me/it/blob/v1/docs/a.md#b), ![p](https://host/me/it/raw/v1/docs/p.png), [c](https://c.org)'
    """

    def replace(found: re.Match[str]) -> str:
        picture, before, target, after = found.groups()
        return f"{picture}{before}{repository}/{'raw' if picture else 'blob'}/{tag}/{target}{after}"

    return LINK.sub(replace, text)


if __name__ == "__main__":
    page, repository, tag = Path(sys.argv[1]), *sys.argv[2:]
    page.write_text(with_absolute_links(page.read_text("utf-8"), repository, tag), "utf-8")
