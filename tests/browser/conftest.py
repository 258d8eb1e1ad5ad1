"""A headless Chromium: the one in EXPUNGE_CHROMIUM, one on the path, or Playwright's own; without any, tests skip."""

import os
import shutil

import pytest

from expunge.report.pdf import BROWSERS

HOW = "apt-get install chromium, or playwright install chromium-headless-shell, or set EXPUNGE_CHROMIUM"


def find_chromium():
    """Return the path of a Chromium, or None for Playwright's own."""
    given = os.environ.get("EXPUNGE_CHROMIUM")
    return given or next((path for path in map(shutil.which, BROWSERS) if path), None)


@pytest.fixture(scope="session")
def browser():
    """Start Chromium once for all tests."""
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=find_chromium())
        except api.Error:
            if os.environ.get("EXPUNGE_CHROMIUM"):
                raise
            pytest.skip(f"no Chromium starts here; {HOW}")
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Return a function that opens a file; whatever the page complains of or asks for ends up in its `trouble`."""
    contexts = []

    def open_file(path, *, width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.trouble = []
        page.on("console", lambda message: page.trouble.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: page.trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (page.trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _note_request(page, request.url))
        page.goto(path.as_uri())
        page.address = page.url
        return page

    yield open_file
    for context in contexts:
        context.close()


def _note_request(page, url):
    if not url.startswith(("file:", "data:")):
        page.trouble.append(f"request: {url}")
