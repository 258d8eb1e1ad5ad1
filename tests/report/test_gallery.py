import base64

import pytest

from expunge.audit.audit_json import read_audit
from expunge.base.errors import DataError
from expunge.report.panels import gallery
from expunge.report.panels.gallery import read_rows


def set_picture(audit, name):
    content = (audit / "rows.csv").read_text().replace("images/0000.png", name)
    (audit / "rows.csv").write_text(content)


def test_rows_have_names_and_percent(audit):
    first, second = read_rows(read_audit(audit), images=True).rows[:2]
    assert (first.label, first.before, first.after, first.met) == ("cat", "cat", "cat", False)
    assert (second.label, second.before, second.after, second.met) == ("dog", "dog", "ship", True)
    assert second.before_percent == pytest.approx(89)
    assert second.margin == pytest.approx(0.5)
    assert second.copies_percent == pytest.approx(10)


def test_pictures_are_inside_the_page_byte_for_byte(audit):
    picture = read_rows(read_audit(audit), images=True).rows[3].picture
    content = base64.b64decode(picture.address.removeprefix("data:image/png;base64,"))
    assert content == (audit / "images" / "0003.png").read_bytes()
    assert (picture.width, picture.height) == (8, 8)


def test_an_audit_without_pictures(audit):
    content = (audit / "rows.csv").read_text().replace("images/00", "")
    lines = [line.rsplit(",", 1)[0] + ",\n" for line in content.splitlines()[1:]]
    (audit / "rows.csv").write_text(content.splitlines()[0] + "\n" + "".join(lines))
    rows = read_rows(read_audit(audit), images=True)
    assert rows.pictured == ()
    assert rows.missing == "The audit kept no pictures of the forgotten images."


def test_only_so_many_pictures(audit, monkeypatch):
    monkeypatch.setattr(gallery, "MOST_PICTURES", 5)
    rows = read_rows(read_audit(audit), images=True)
    assert len(rows.pictured) == 5
    assert len(rows.rows) == 12
    assert rows.missing == "The first 5 of 12 are shown, so that the page stays small."


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "images/../../secret.png", "images/deeper/a.png"])
def test_pictures_outside_the_folder_are_refused(audit, name):
    (audit.parent / "secret.png").write_bytes((audit / "images" / "0000.png").read_bytes())
    set_picture(audit, name)
    with pytest.raises(DataError, match="a file in images/ of the audit"):
        read_rows(read_audit(audit), images=True)


def test_a_link_to_a_picture_outside_is_refused(audit):
    outside = audit.parent / "secret.png"
    outside.write_bytes((audit / "images" / "0000.png").read_bytes())
    (audit / "images" / "0000.png").unlink()
    (audit / "images" / "0000.png").symlink_to(outside)
    with pytest.raises(DataError, match="a file in images/ of the audit"):
        read_rows(read_audit(audit), images=True)


def test_a_picture_that_is_gone(audit):
    (audit / "images" / "0000.png").unlink()
    with pytest.raises(DataError, match=r"0000\.png.*--no-images"):
        read_rows(read_audit(audit), images=True)
    assert len(read_rows(read_audit(audit), images=False).rows) == 12


def test_a_picture_that_is_none(audit):
    (audit / "images" / "0000.png").write_bytes(b"<svg onload=alert(1)>" * 3)
    with pytest.raises(DataError, match="a PNG picture"):
        read_rows(read_audit(audit), images=True)
