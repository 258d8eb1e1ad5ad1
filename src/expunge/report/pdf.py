"""A page as a PDF, printed by the Chromium that is installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from expunge.base.disk import write_bytes
from expunge.base.errors import OutputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
CHROMIUM_VARIABLE = "EXPUNGE_CHROMIUM"
LONGEST_SECONDS = 120
HOW = f"install Chromium or Chrome, name one in {CHROMIUM_VARIABLE}, or print the page from any browser"


def write_pdf(page: Path, out: Path) -> Path:
    """Print `page` to the PDF `out`, and return its place.

    Raises:
        OutputError: there is no Chromium, it prints nothing, or the file can't be written.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "page.pdf"
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
        ]
        if _is_root():
            command.append("--no-sandbox")  # Chromium doesn't start as root with one; the page is our own, and offline
        try:
            done = subprocess.run(  # noqa: S603 - a browser of the user's
                [*command, f"--print-to-pdf={printed}", page.resolve().as_uri()],
                capture_output=True,
                text=True,
                timeout=LONGEST_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(browser, "a browser that prints a PDF", str(error), HOW) from error
        if not printed.exists():
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise OutputError(browser, "a browser that prints a PDF", f"exit code {done.returncode}: {said}", HOW)
        write_bytes(out, printed.read_bytes())
    return out


def find_browser() -> str:
    """Return the path of the Chromium in EXPUNGE_CHROMIUM, or of the first that is installed.

    Raises:
        OutputError: there is none.
    """
    given = os.environ.get(CHROMIUM_VARIABLE)
    found = given or next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None or (given and not Path(given).exists()):
        raise OutputError("--pdf", "a Chromium that prints the page", given or "none", HOW)
    return found


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
