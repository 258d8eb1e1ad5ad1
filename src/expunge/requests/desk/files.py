"""What is sent as it is: pictures, tables, exported classifiers."""

import io
import zipfile
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse, Response

from expunge.base.errors import LedgerError
from expunge.requests.desk import acts
from expunge.requests.desk.audits import policy_of, read_audit
from expunge.requests.desk.view import picture_of
from expunge.requests.desk.web import Refused, Visit
from expunge.requests.place import DESK_FOLDER, EXPORTS_FOLDER
from expunge.requests.plan import plan_retraining, read_places, to_csv, to_relabel_csv


def picture(visit: Visit) -> Response:
    """Send a picture of a request."""
    try:
        return png(picture_of(visit.desk.ledger(), acts.find_request(visit), int(visit.path["number"])))
    except LedgerError as error:
        raise Refused(404, "There is no such picture, or it was deleted.") from error


def draft_picture(visit: Visit) -> Response:
    """Send a picture of a draft."""
    return png(_at(acts.find_draft(visit).pictures, visit.path["number"]))


def near_picture(visit: Visit) -> Response:
    """Send a training image that is near to a picture of a draft."""
    near = _at(acts.find_draft(visit).near or [], visit.path["number"])
    return png(_at(near, visit.path["place"])["picture"])


def planned(visit: Visit) -> Response:
    """Send the table of images that a retrained classifier must not learn."""
    ledger = visit.desk.ledger()
    return _table(to_csv(plan_retraining(ledger, read_places(ledger))), "retrain.csv")


def relabelled(visit: Visit) -> Response:
    """Send the table of images that a retrained classifier is to learn with new labels."""
    ledger = visit.desk.ledger()
    return _table(to_relabel_csv(plan_retraining(ledger, read_places(ledger))), "retrain-relabel.csv")


def audited(visit: Visit) -> Response:
    """Send the report of an audit, in a sandbox: it has no session, sends no form and loads nothing."""
    try:
        told = read_audit(visit.desk.folder, visit.desk.store.keys, visit.path["audit"])
    except LedgerError as error:
        raise Refused(404, "There is no such audit.") from error
    return HTMLResponse(told["page"], headers={"content-security-policy": policy_of(told["page"])})


def export_folders(visit: Visit) -> list[Path]:
    """Return the folders of exported classifiers, newest first."""
    folders = (visit.desk.folder / DESK_FOLDER / EXPORTS_FOLDER).glob("*/")
    return sorted(folders, key=lambda each: -each.stat().st_mtime)


def exported(visit: Visit) -> Response:
    """Send an exported classifier as one file; the name is looked up among those that are there."""
    folder = {each.name: each for each in export_folders(visit)}.get(visit.path["export"])
    if folder is None:
        raise Refused(404, "There is no such export.")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            archive.write(file, file.relative_to(folder))
    headers = {"content-disposition": f'attachment; filename="classifier-{folder.name}.zip"'}
    return Response(stream.getvalue(), media_type="application/zip", headers=headers)


def _table(content: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


def png(content: bytes) -> Response:
    """Return a picture."""
    return Response(content, media_type="image/png")


def _at(values: list[Any], number: str) -> Any:  # noqa: ANN401 - of the list
    if int(number) >= len(values):
        raise Refused(404, "There is no such picture.")
    return values[int(number)]
