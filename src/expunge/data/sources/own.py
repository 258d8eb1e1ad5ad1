"""Images from the user's own code: package.module:function, or a source that another package declares."""

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

from expunge.base.declared import blaming, find_declared, load_declared, place_of
from expunge.base.errors import DataError, ExpungeError
from expunge.base.functions import current_folder_first, find_function
from expunge.data.objects import images_of
from expunge.data.reading import Reading
from expunge.data.sources.splits import DataRequest, DataSplits

GROUP, KIND = "expunge.data", "source"
FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

Load = Callable[[Path, DataRequest], DataSplits]


def is_function(spec: str) -> bool:
    """Return whether `spec` has the form package.module:function.

    >>> is_function("mine.images:load"), is_function("npz:some.npz")
    (True, False)
    """
    return FUNCTION.fullmatch(spec) is not None


def declared_sources(own: Iterable[str]) -> dict[str, Load]:
    """Return the sources in the entry point group `expunge.data`, each a function as those of this package.

    A package is imported when its source is loaded from. Whatever its code raises becomes an error that names it.

    Args:
        own: names of this package's sources.

    Raises:
        SettingsError: two packages declare the same name.
    """

    def imported(point: EntryPoint) -> Load:
        def load(place: Path, request: DataRequest) -> DataSplits:
            make = load_declared(point, KIND)
            with blaming(point, KIND, f"images from {place}", ExpungeError):
                found: DataSplits = make(place, request)
            if not isinstance(found, DataSplits):
                raise DataError(place_of(point, KIND), "a function that returns DataSplits", type(found).__name__)
            return found

        return load

    return {name: imported(point) for name, point in find_declared(GROUP, KIND, own).items()}


def load_function(spec: str, request: DataRequest, *, otherwise: str = "") -> DataSplits:
    """Return the images that a function without arguments returns: `DataSplits`, or training images.

    These are in any form that `expunge.unlearn` takes, such as a torch `Dataset`; or a mapping with `train` and,
    optionally, `test`. The function's module is imported from the current folder or from Python's path; `otherwise` is
    what the name could have been, for the error's text.

    Raises:
        DataError: the function is not there or fails, or returns something else.
    """
    with current_folder_first():
        make = find_function(spec, DataError, otherwise=otherwise)
        try:
            found = make()
        except (Exception, SystemExit) as error:
            raise DataError(
                spec, "a function that works without arguments", f"{type(error).__name__}: {error}"
            ) from error
    if isinstance(found, DataSplits):
        return found
    parts = found if isinstance(found, Mapping) and "train" in found else {"train": found}
    reading = Reading(request.preprocessing, request.class_names)
    train = images_of(parts["train"], reading=reading)
    test = None if parts.get("test") is None else images_of(parts["test"], reading=reading)
    names = request.class_names or tuple(getattr(parts["train"], "classes", ()))
    return DataSplits(train, test, names)
