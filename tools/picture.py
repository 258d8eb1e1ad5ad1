"""Make the README's picture: the page of an audit of the demo's classifier, as a browser shows its top.

python tools/picture.py [docs/figures/report.png]; it needs Playwright and a Chromium (EXPUNGE_CHROMIUM).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1080, 840
COMMANDS = (
    "demo --inputs digits",
    "run --model expunge.jobs.demo:DigitNet --weights digits/weights.safetensors --mean 0 --std 1 --method l2ul"
    " --data npz:digits/images.npz --forget-indices 3,17,40-45 --audit quick --out edited",
)


def main(picture: Path) -> None:
    """Make an edit with its audit, open the report, and write the picture."""
    chromium = os.environ.get("EXPUNGE_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as place:
        for words in COMMANDS:
            subprocess.run([sys.executable, "-m", "expunge", *words.split()], check=True, cwd=place)  # noqa: S603
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto((Path(place) / "edited" / "audit" / "report.html").as_uri())
            page.screenshot(path=picture)
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "figures" / "report.png")
