"""The desk in a real browser: two people, four requests, a server and a worker that are killed, phones and the dark."""

import io
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from desk_project import NETWORK, DeskServer
from PIL import Image
from safetensors.torch import save_file
from small_job import QUICK

from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource
from expunge.requests.approval import Approval
from expunge.requests.create import Plan, create_project
from expunge.requests.project import Ledger
from expunge.requests.state import State
from expunge.requests.verify import verify_folder
from expunge.requests.weights import load_first, read_current, with_weights

pytestmark = pytest.mark.browser

pytest.importorskip("starlette")

CONTRAST = 4.5
MEASURE_CONTRAST = Path(__file__).with_name("contrast.js").read_text("utf-8")
PATIENCE = 120_000
FAR = "2999-12-31"
COLOURS = ("red", "green", "blue")
WIDTHS = "images => images.map((each) => each.naturalWidth)"


def draw_levels(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    levels = rng.integers(0, 90, (count, 6, 5, 3))
    levels[np.arange(count), :, :, labels] += 120
    return levels.astype(np.uint8), labels


def make_inputs(folder):
    """Write network, weights and images, quick to edit."""
    (folder / "desk_networks.py").write_text(NETWORK)
    levels, labels = draw_levels(60, seed=0)
    unseen, unseen_labels = draw_levels(30, seed=1)
    np.savez(folder / "images.npz", x_train=levels, y_train=labels, x_test=unseen, y_test=unseen_labels)
    from desk_networks import build  # noqa: PLC0415

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build()
    x, y = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network((x - 0.5) / 0.25), y).backward()
        optimiser.step()
    save_file(network.eval().state_dict(), folder / "weights.safetensors")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return a running desk of a project in which two people see each request."""
    inputs = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(inputs)
        make_inputs(inputs)
        weights = inputs / "weights.safetensors"
        model = ModelSource("desk_networks:build", weights, 3, Normalisation((0.5,), (0.25,)), COLOURS)
        data = f"npz:{inputs / 'images.npz'}"
        folder = tmp_path_factory.mktemp("desk") / "project"
        plan = Plan(model=model, data=data, method="l2ul", settings=QUICK, budget=90.0, approval=Approval.TWO)
        create_project(folder, plan)
        desk = DeskServer(folder, inputs)
        desk.rows = iter(range(10, 60))
        desk.start()
        yield desk
        desk.stop()
        sys.modules.pop("desk_networks", None)


@pytest.fixture
def person(server, browser):
    """Return the function that signs somebody in, in a browser of their own."""
    contexts = []

    def sign_in(name, role, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.trouble = []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: page.trouble.append(message.text) if "Policy" in message.text else None)
        page.on("pageerror", lambda error: page.trouble.append(f"error: {error}"))
        page.goto(server.invite(name, role))
        page.get_by_role("button", name=f"Sign in as {name}").click()
        page.wait_for_url(f"{server.address}/")
        return page

    yield sign_in
    for context in contexts:
        context.close()


def picture(row):
    levels = draw_levels(60, seed=0)[0][row]
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    return {"name": f"photo{row}.png", "mimeType": "image/png", "buffer": stream.getvalue()}


def offer(page, server, *rows, label, reference, table=None, keep=FAR):
    """Hand a request in as a person does."""
    page.goto(f"{server.address}/new")
    page.get_by_label("Pictures: drop them here").set_input_files([picture(row) for row in rows])
    if table is not None:
        page.get_by_label("Table (CSV)").set_input_files({"name": "t.csv", "mimeType": "text/csv", "buffer": table})
    page.get_by_label("Label of the pictures").fill(label)
    page.get_by_label("Reference").fill(reference)
    page.get_by_label("Keep the pictures").fill(keep)
    page.get_by_role("button", name="Look for copies").click()
    page.get_by_text("Beside each picture are the five").wait_for()
    page.get_by_role("button", name="Add the request").click()


def add(page, server, *rows, **more):
    """Take a request in as a person does, and return its name."""
    offer(page, server, *rows, **more)
    page.get_by_text("was added.").wait_for()
    return page.locator(".job h2 a").first.inner_text()


def press(page, server, name, button):
    """Press a button on a request's page, and wait until its job has ended."""
    page.goto(f"{server.address}/requests/{name}")
    page.get_by_role("button", name=button, exact=True).click()
    page.locator(".job.done, .job.bad").first.wait_for()


def draw_row(server):
    """Return a row without a request yet, and the newest classifier's answer to it: the label that a request can name.

    Which colours an edit turns over differs from processor to processor, so the answer is asked for.
    """
    ledger = Ledger.open(server.folder)
    newest = with_weights(load_first(ledger).classifier, read_current(ledger))
    row = next(server.rows)
    x = torch.from_numpy(draw_levels(60, seed=0)[0][row : row + 1]).permute(0, 3, 1, 2).float() / 255
    return row, COLOURS[newest(x).argmax(dim=1).item()]


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it does not happen")


def state_of(server, name):
    return Ledger.open(server.folder).state.find(name).state


def test_two_people_and_four_requests(server, person):
    anna, ben = person("anna", "requester"), person("ben", "approver")
    names = [
        add(anna, server, 0, 3, label="red", reference="letter 1"),
        add(anna, server, 6, label="red", reference="a mistake"),
        add(anna, server, 1, label="green", reference="letter 3"),
    ]
    assert names == ["R0001", "R0002", "R0003"]
    anna.goto(f"{server.address}/requests/R0001")
    assert anna.get_by_role("button", name="Approve").count() == 0
    press(anna, server, "R0002", "Withdraw")
    for name in ("R0001", "R0003"):
        press(ben, server, name, "Approve")
        press(ben, server, name, "Apply")
        ben.get_by_text("forgotten", exact=True).first.wait_for()
    ben.goto(f"{server.address}/requests/R0001")
    assert ben.get_by_text("before: red").count() == 2
    wait_until(lambda: set(ben.locator(".gallery img").evaluate_all(WIDTHS)) == {5})
    ben.goto(f"{server.address}/")
    ben.get_by_role("button", name="Undo version 2").click()
    ben.locator(".job.done").first.wait_for()
    ben.goto(f"{server.address}/requests/R0001")
    now = ben.locator(".gallery li").first.inner_text().split("after: ")[1].split()[0]
    table = f"path,label,new_label\nphoto0.png,{now},red\n".encode()
    offer(anna, server, 0, label="", reference="cannot be", table=table)  # the same picture under another label
    anna.get_by_text("which is right?").wait_for()
    states = {name: state_of(server, name) for name in names}
    assert states == {"R0001": State.VERIFIED, "R0002": State.WITHDRAWN, "R0003": State.VALIDATED}
    ben.goto(f"{server.address}/ledger")
    ben.get_by_role("button", name="Check every entry and file").click()
    ben.get_by_text("0 problems").first.wait_for()
    found = verify_folder(server.folder)
    assert (found.problems, found.unfinished) == ((), ())
    assert anna.trouble == ben.trouble == []


def test_an_edit_survives_reload_server_and_worker(server, person):
    anna, ben = person("anna", "requester"), person("ben", "approver")
    row, colour = draw_row(server)
    name = add(anna, server, row, label=colour, reference="letter 5")
    press(ben, server, name, "Approve")
    server.hold.touch()
    ben.goto(f"{server.address}/requests/{name}")
    ben.get_by_role("button", name="Apply", exact=True).click()
    running = ben.locator(".job .state", has_text="running")
    running.wait_for()
    ben.reload()
    running.wait_for()
    server.kill()
    assert server.workers(), "the worker goes on without the server"
    server.start()
    anna.goto(f"{server.address}/requests/{name}")
    anna.locator(".job .state", has_text="running").wait_for()
    assert server.kill_worker()
    wait_until(lambda: server.workers() != [])
    server.hold.unlink()
    wait_until(lambda: state_of(server, name) is State.VERIFIED)
    ben.locator(".job.done").first.wait_for()  # the page has followed its job through all that
    ben.get_by_text(f"before: {colour}").wait_for()
    kinds = [entry.kind for entry in Ledger.open(server.folder).entries if name in entry.text]
    assert kinds.count("applied") == 1
    assert verify_folder(server.folder).problems == ()


def count_entries(server):
    """Return how many entries there are, without those that say who came and went."""
    return sum(entry.kind != "noted" for entry in Ledger.open(server.folder).entries)


def test_two_browsers_see_one_edit_and_either_cancels_it(server, person):
    anna, ben, carla = person("anna", "requester"), person("ben", "approver"), person("carla", "approver")
    row, colour = draw_row(server)
    name = add(anna, server, row, label=colour, reference="letter 6")
    press(ben, server, name, "Approve")
    number = count_entries(server)
    server.hold.touch()
    ben.goto(f"{server.address}/requests/{name}")
    ben.get_by_role("button", name="Apply", exact=True).click()
    carla.goto(f"{server.address}/")
    carla.locator(".job .state", has_text="running").wait_for()
    carla.get_by_role("button", name="Cancel").click()
    ben.locator(".job.cancelled").wait_for()
    server.hold.unlink()
    assert state_of(server, name) is State.VALIDATED
    assert count_entries(server) == number
    wait_until(lambda: "stopped apply" in Ledger.open(server.folder).last.text)


def test_deleting_asks_once_more_and_the_report_of_an_audit_opens_in_a_sandbox(server, person):
    anna, ben = person("anna", "requester"), person("ben", "approver")
    row, colour = draw_row(server)
    name = add(anna, server, row, label=colour, reference="letter 7")
    press(ben, server, name, "Approve")
    press(ben, server, name, "Apply")
    ben.goto(f"{server.address}/requests/{name}")
    assert "its kept pictures" in ben.locator("dl").inner_text()
    ben.goto(f"{server.address}/audits")
    ben.get_by_role("button", name="Audit version").click()
    ben.locator(".job.done").wait_for()
    anna.goto(f"{server.address}/audits")
    anna.locator("td, th").get_by_role("link", name="version").first.click()
    anna.get_by_role("link", name="In short").wait_for()
    assert anna.evaluate("window.origin") == "null", "the page has no session and can ask for nothing"
    assert anna.locator("th button").count() > 0, "its own script ran"
    assert anna.locator("img").count() == 0
    ben.goto(f"{server.address}/delete?request={name}")
    ben.locator("section", has_text="whatever day").get_by_role("link").click()
    ben.get_by_text("nobody notices").wait_for()
    ben.get_by_role("button", name="Delete for good").click()
    assert ben.locator("input[name=confirmed]").evaluate("box => box.validity.valueMissing")
    assert Ledger.open(server.folder).state.find(name).images is not None
    ben.get_by_label("I have read").check()
    ben.get_by_role("button", name="Delete for good").click()
    ben.locator(".job.done").wait_for()
    assert Ledger.open(server.folder).state.find(name).images is None
    ben.goto(f"{server.address}/requests/{name}")
    assert "later edits may bring it back unseen" in ben.locator("dl").inner_text()
    assert anna.trouble == ben.trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_can_be_read(server, person, scheme):
    phone = person("rita", "approver", viewport={"width": 320, "height": 640}, color_scheme=scheme)
    backgrounds = set()
    more = ("/retraining", "/audits", "/delete", "/delete/versions", "/delete/pictures")
    for path in ("/", "/new", "/requests/R0001", "/ledger", "/jobs", "/exports", "/nowhere", *more):
        phone.goto(server.address + path)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 320, path
        weak = [(text, round(ratio, 2)) for text, ratio in phone.evaluate(MEASURE_CONTRAST) if ratio < CONTRAST]
        assert weak == [], path
        unnamed = phone.locator("input:not([type=hidden]), select").evaluate_all(
            "all => all.filter((each) => !each.labels.length && !each.ariaLabel).map((each) => each.name)"
        )
        assert unnamed == [], path
        backgrounds.add(phone.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds == ({"rgb(246, 247, 249)"} if scheme == "light" else {"rgb(15, 20, 25)"})


def test_everything_can_be_reached_by_keyboard(server, person):
    page = person("kim", "requester")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.goto(f"{server.address}/new")
    wanted = page.locator("main input:not([type=hidden]), main button, main select").count()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    names = {"pictures", "table", "label", "reference", "due", "keep_until", "Look for copies"}
    assert names <= reached
    assert wanted >= len(names)
    page.get_by_role("link", name="Requests").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.address}/")
