"""The warning that a network knows nothing yet."""

import warnings

from expunge.base.errors import ExpungeWarning


def warn_random(architecture: str) -> None:
    """Warn that `architecture` was made without weights: there is nothing in it to forget."""
    warnings.warn(
        f"{architecture} has random weights: pass --weights FILE for a trained classifier", ExpungeWarning, stacklevel=3
    )
