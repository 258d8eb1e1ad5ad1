"""How figures are put into words for a reader who has no use for jargon."""

import re
from collections.abc import Callable, Mapping
from functools import partial

from expunge.audit.record import Direction, Figure
from expunge.base.visible import visible
from expunge.base.words import KILO, plural, say_bytes, say_percent, say_seconds

TEN = 10
LONGEST_LABEL = 22
DIRECTIONS = {
    Direction.HIGHER: "higher is better",
    Direction.LOWER: "lower is better",
    Direction.NEAR: "the nearer to the target the better",
    Direction.NONE: "describes only",
}
UNITS = {
    "AUC": "0.5 means that an outsider can only guess",
    "points": "points of a percentage: from 90% to 88% is 2",
    "nats": "0 means no difference",
}


def say_value(value: float, unit: str) -> str:
    """Return a value with its unit, as short as is honest.

    >>> say_value(100, "percent"), say_value(99.97, "percent"), say_value(0.5, "AUC"), say_value(95.2, "seconds")
    ('100%', 'over 99.9%', '0.500', '1 min 35 s')
    """
    if unit in SAYINGS:
        return SAYINGS[unit](value)
    number = f"{value:,.0f}" if abs(value) >= KILO else f"{value:.3g}"
    return f"{number} {unit}" if unit == "nats" else number


def say_figure(figure: Figure) -> str:
    """Return the value of `figure`, or that it is not defined."""
    return "not defined" if figure.value is None else say_value(figure.value, figure.unit)


def say_interval(figure: Figure) -> str:
    """Return the 95% interval in words, empty where there is none."""
    if figure.interval is None:
        return ""
    low, high = (say_value(value, figure.unit) for value in figure.interval)
    return f"95% interval {low} to {high}"


def say_target(figure: Figure) -> str:
    """Return target and direction in words."""
    if figure.target is None:
        return DIRECTIONS[figure.direction]
    return f"target {say_value(figure.target, figure.unit)}, {DIRECTIONS[figure.direction]}"


def say_unit(figure: Figure) -> str:
    """Return what a unit means, where not everybody knows; else nothing."""
    return UNITS.get(figure.unit, "")


def say_status(figure: Figure) -> str:
    """Return whether the target is met; without an interval, a figure that should be near it is not judged."""
    if figure.value is None:
        return "not defined"
    if figure.flagged is None:
        return "no target" if figure.target is None else "not judged"
    return "misses its target" if figure.flagged else "meets its target"


def shorten(text: str, longest: int = LONGEST_LABEL) -> str:
    """Return `text` cut to at most `longest` characters, with an ellipsis in its middle."""
    text = visible(text)
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def slug(text: str) -> str:
    """Return `text` as a part of an id in the page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def say_share(share: float) -> str:
    """Return a share of 1 as percent with two digits, and never as a power of ten.

    >>> say_share(0.00012), say_share(0.391), say_share(2.4123)
    ('0.012%', '39%', '241%')
    """
    percent = 100 * share
    return f"{percent:.0f}%" if percent >= TEN else f"{percent:.2g}%"


def say_hundredth(percent: float) -> str:
    """Return a percentage as a number out of 100 with one digit; only a whole hundred is 100, and only nothing is 0.

    >>> say_hundredth(91.66), say_hundredth(99.97), say_hundredth(100.0), say_hundredth(0.02)
    ('91.7', 'over 99.9', '100', 'under 0.1')
    """
    return say_percent(percent).removesuffix("%")


SAYINGS: Mapping[str, Callable[[float], str]] = {
    "percent": say_percent,
    "points": lambda value: f"{value:.1f} points" if value else "0 points",
    "AUC": lambda value: f"{value:.3f}",
    "share": lambda value: f"{value:.3f}",
    "seconds": partial(say_seconds, digits=1),
    "bytes": say_bytes,
    "steps": lambda value: plural(round(value), "step"),
    "rows": lambda value: plural(round(value), "row"),
}
