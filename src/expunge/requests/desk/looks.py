"""Jobs that leave requests and weights as they are: they search, plan, audit, check, export, and note who came."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from expunge.audit.record import Level
from expunge.data import load_data
from expunge.requests.audit import audit_newest
from expunge.requests.desk.audits import UNFINISHED, write_audit
from expunge.requests.desk.intake import search_copies
from expunge.requests.desk.worker import Result, Work, said
from expunge.requests.export import export_newest
from expunge.requests.images import find_places
from expunge.requests.place import DESK_FOLDER, EXPORTS_FOLDER
from expunge.requests.plan import describe, standing, write_places
from expunge.requests.project import Ledger
from expunge.requests.verify import verify_folder
from expunge.requests.weights import load_first


def search(work: Work) -> Result:
    """Look for copies of a draft's pictures in the training data."""
    ledger, draft = Ledger.open(work.folder), str(work.job.arguments["draft"])
    count = search_copies(ledger, draft, str(work.job.arguments["against"]), work.runtime)
    return said(f"Looked for copies of {count} picture{'s' * (count != 1)}.", draft=draft)


def plan(work: Work) -> Result:
    """Look for the images of the plan in the training data."""
    ledger = Ledger.open(work.folder)
    training = load_data(str(work.job.arguments["against"]), load_first(ledger).request()).train
    wanted = {content for request in standing(ledger.state) for content in request.each_content()}
    places = find_places(ledger, training, wanted)
    write_places(ledger, places)
    return said(*describe(ledger.state, places))


def audit(work: Work) -> Result:
    """Compare the newest version with the first weights, and keep the reports, sealed."""
    asked, ledger = work.job.arguments, Ledger.open(work.folder)
    with TemporaryDirectory(dir=work.folder / DESK_FOLDER, prefix=UNFINISHED) as place:
        made = audit_newest(ledger, asked["against"], Level(asked["level"]), Path(place), work.runtime)
    told = {"version": ledger.state.newest, "level": asked["level"], "by": work.job.person}
    for one in made:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        write_audit(work.folder, ledger.keys, f"{work.job.id}-{one.goal}", {**told, "made": time, **asdict(one)})
    with work.writing() as ledger:
        if not work.done_before(ledger, "noted"):
            rows = sum(one.rows for one in made)
            ledger.append([("noted", {"what": "audited", "version": told["version"], "pictures": rows})])
    looked = ", and ".join(f"{one.rows} of {one.forgotten} ({one.goal})" for one in made)
    return said(f"Version {told['version']} was compared with the first weights on forgotten pictures: {looked}.")


def verify(work: Work) -> Result:
    """Check every entry and file."""
    found = verify_folder(work.folder)
    wrong = [*found.problems, *found.unfinished]
    if not wrong:
        with work.writing() as ledger:
            ledger.append([("noted", {"what": "checked", "entries": found.entries})])
            head = ledger.last.hash
    else:
        head = found.head
    text = f"{found.entries} entries and {found.files} files checked, {len(wrong)} problems; head {head}"
    return {**said(text, *wrong), "failed": bool(wrong)}


def export(work: Work) -> Result:
    """Write the newest classifier for others."""
    out = work.folder / DESK_FOLDER / EXPORTS_FOLDER / work.job.id
    with work.writing() as ledger:
        exported, card = export_newest(ledger, out, work.job.arguments["formats"], overwrite=True)
        names = [one.path.name for one in exported] + [card.name]
        ledger.append([("noted", {"what": "exported", "files": names, "weights_sha256": ledger.state.weights_sha256})])
    return said(f"Wrote {', '.join(names)}.")


def note(work: Work) -> Result:
    """Note what somebody did."""
    with work.writing() as ledger:
        if not work.done_before(ledger, "noted"):
            ledger.append([("noted", dict(work.job.arguments))])
    return said()
