"""Counts, times and sizes as people say them."""

from collections.abc import Sequence

MINUTE = 60
KILO = 1000


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "image"), plural(2000, "image")
    ('1 image', '2,000 images')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def say_list(items: Sequence[str]) -> str:
    """Return items with commas, and the last with "and".

    >>> say_list(["mirrored"]), say_list(["mirrored", "shifted", "noised"])
    ('mirrored', 'mirrored, shifted and noised')
    """
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def say_percent(value: float) -> str:
    """Return a percentage with one digit; what is not nothing, or not all, is not rounded to it.

    >>> say_percent(91.66), say_percent(100.0), say_percent(99.97), say_percent(0.02), say_percent(0)
    ('91.7%', '100%', 'over 99.9%', 'under 0.1%', '0%')
    """
    if value in (0, 100):
        return f"{value:.0f}%"
    rounded = f"{value:.1f}%"
    return {"100.0%": "over 99.9%", "0.0%": "under 0.1%"}.get(rounded, rounded)


def say_seconds(seconds: float, digits: int = 0) -> str:
    """Return a length of time; one below a minute with so many digits after the point.

    >>> say_seconds(42.4), say_seconds(42.4, digits=1)
    ('42 s', '42.4 s')
    >>> say_seconds(61), say_seconds(7325)
    ('1 min 1 s', '2 h 2 min')
    """
    if round(seconds, digits) < MINUTE:
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    hours, minutes = divmod(minutes, MINUTE)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def say_bytes(count: float) -> str:
    """Return a size with its unit.

    >>> say_bytes(512), say_bytes(44_700_000)
    ('512 bytes', '44.7 MB')
    """
    for unit in ("bytes", "kB", "MB"):
        if count < KILO:
            return f"{count:.3g} {unit}"
        count /= KILO
    return f"{count:.3g} GB"
