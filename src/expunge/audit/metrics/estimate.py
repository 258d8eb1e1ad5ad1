"""What a metric gives back: an estimate, or the reason why there is none."""

from dataclasses import dataclass


class NotDefinedError(Exception):
    """A figure that these inputs do not define; the message is the reason, for the reader of a report."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and, where there is one, its 95% interval."""

    value: float
    interval: tuple[float, float] | None = None
