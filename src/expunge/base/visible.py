"""Text of unknown origin for people: what nobody would see, or what a terminal would obey, is written out."""

import unicodedata

UNSEEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def visible(text: str) -> str:
    r"""Return `text` with characters that nobody sees, or that turn the reading direction, written out.

    >>> visible("a" + chr(0x202E) + "gpj.exe"), visible(chr(27) + "[31m")
    ('a\\u202egpj.exe', '\\u001b[31m')
    """
    if text.isprintable():
        return text
    return "".join(_write_out(char) if unicodedata.category(char) in UNSEEN_CATEGORIES else char for char in text)


def visible_name(name: str) -> str:
    r"""Return a file's name as text that can be written: bytes that are no UTF-8 become \xNN.

    >>> visible_name("caf\udce9.png")
    'caf\\xe9.png'
    """
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _write_out(char: str) -> str:
    return f"\\u{ord(char):04x}"
