"""A desk in this process: pages are asked over ASGI, and jobs are done when a test says so."""

import io
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")

from starlette.testclient import TestClient

from expunge.requests.approval import Approval
from expunge.requests.create import create_project
from expunge.requests.desk.app import make_app
from expunge.requests.desk.people import ROLES, give_role, invite
from expunge.requests.desk.web import Desk
from expunge.requests.desk.work import do
from expunge.requests.desk.worker import take_jobs
from expunge.requests.recovery import writing


@dataclass
class Visitor:
    """Somebody with a browser of their own."""

    client: TestClient
    desk: Desk
    pages: dict = field(default_factory=dict)

    def get(self, address, **options):
        return self.client.get(address, **options)

    def token(self, page, action):
        """Return the hidden value of the form for `action` on a page."""
        text = self.client.get(page).text
        found = re.search(
            rf'action="{re.escape(action)}"[^>]*>\s*<input type="hidden" name="form" value="([^"]+)"', text
        )
        assert found, f"no form for {action} on {page}"
        return found[1]

    def send(self, page, action, files=None, **fields):
        """Send the form for `action` that a page shows."""
        data = {"form": self.token(page, action), **fields}
        return self.client.post(action, data=data, files=files, follow_redirects=False)

    def do(self, page, action, **fields):
        """Send a form, do the job that it asks for, and return the job."""
        answer = self.send(page, action, **fields)
        assert answer.status_code == 303, answer.text
        take_jobs(self.desk.folder, self.desk.store, do)
        found = re.search(r"job=([0-9a-f]+)", answer.headers["location"])
        return self.desk.store.find_job(found[1]) if found else answer.headers["location"]

    def apply(self, page="/", **fields):
        """Apply what waits, and return the job, which must have come about."""
        job = self.do(page, "/apply", **fields)
        assert job.result is not None, job.error
        assert not job.result["failed"], job.result
        return job

    def delete(self, what, request=""):
        """Delete as the pages have it: choose, read what can't be done afterwards, say yes; and return the job."""
        at = f"?request={request}" if request else ""
        place = f"/delete/{what}{at}"
        assert f'href="{place}"' in self.get(f"/delete{at}").text
        text = self.get(place).text
        hidden = dict(re.findall(r'<input type="hidden" name="(what|seen|version|request)" value="([^"]*)"', text))
        return self.do(place, "/purge", **hidden, confirmed="yes")

    def add(self, *contents, label="0", table=None, include=(), **options):
        """Add a request for pictures, and return the job."""
        files = [("pictures", (f"picture{n}.png", content, "image/png")) for n, content in enumerate(contents)]
        files += [("table", ("table.csv", table, "text/csv"))] if table else []
        fields = {"label": label, **{"due": "2999-01-01", **options}}
        answer = self.send("/new", "/drafts", files=files, **fields)
        assert answer.status_code == 303, answer.text
        take_jobs(self.desk.folder, self.desk.store, do)
        place = answer.headers["location"].partition("?")[0]
        return self.do(place, f"{place}/request", include=list(include))


def as_png(levels):
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def pictures(inputs):
    """Return the function that gives the PNG file of a training image, whose label is row modulo 3."""
    levels = np.load(inputs / "images.npz")["x_train"]
    return lambda row: as_png(levels[row])


@pytest.fixture
def desk(plan, tmp_path):
    """Return the desk of an empty project in which two people see each request."""
    folder = tmp_path / "project"
    create_project(folder, replace(plan, approval=Approval.TWO))
    return Desk.open(folder)


def sign_in(desk, name=None, role="reader"):
    client = TestClient(make_app(desk, ["testserver"]))
    if name is not None:
        with writing(desk.folder) as ledger:
            give_role(ledger, name, ROLES[role])
        token = invite(desk.store, name, hours=1)
        assert client.post("/login", data={"token": token}).status_code == 200
        take_jobs(desk.folder, desk.store, do)
    return Visitor(client, desk)


@pytest.fixture
def make_visitor():
    """Return the function that signs somebody in at a desk."""
    return sign_in


@pytest.fixture
def visitor(desk):
    """Return the function that signs somebody in, or gives somebody who isn't."""
    return lambda name=None, role="reader": sign_in(desk, name, role)


@pytest.fixture
def anna(visitor):
    """Return somebody who adds requests."""
    return visitor("anna", "requester")


@pytest.fixture
def ben(visitor):
    """Return somebody who approves them."""
    return visitor("ben", "approver")


@pytest.fixture
def files_of():
    """Return the function that gives all files of a project by path, but the desk's own database."""

    def look(folder):
        kept = [path for path in Path(folder).rglob("*") if path.is_file() and "desk.sqlite" not in path.name]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept if path.name != ".lock"}

    return look
