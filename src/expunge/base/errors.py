"""The errors a caller can cause, and the one form their messages take."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches


class ExpungeError(ValueError):
    """Base of every error that the user can mend.

    Args:
        name: what is wrong: an argument, a file, a column, a flag.
        expected: the rule it broke.
        got: what was found instead, short enough to read.
        hint: what to do about it.

    >>> str(ExpungeError("labels", "values in 0..9", "12", "check the class list"))
    '`labels`: expected values in 0..9, got 12; check the class list'
    """

    def __init__(self, name: str, expected: str, got: str, hint: str = "") -> None:
        super().__init__(f"`{name}`: expected {expected}, got {got}" + (f"; {hint}" if hint else ""))
        self.name, self._rule = name, (expected, got, hint)

    def __reduce__(self) -> tuple[type["ExpungeError"], tuple[str, ...]]:
        return type(self), (self.name, *self._rule)

    def renamed(self, name: str) -> "ExpungeError":
        """Return the same error under the name that the user knows it by, such as a flag."""
        return type(self)(name, *self._rule)

    def hinted(self, first: str) -> "ExpungeError":
        """Return the same error with another thing to do, before what it says itself."""
        expected, got, hint = self._rule
        return type(self)(self.name, expected, got, f"{first}; {hint}" if hint else first)


class ClassifierError(ExpungeError):
    """A classifier, its weights or its outputs are not what they should be."""


class ForgetSetError(ExpungeError):
    """The instances to forget are empty, contradictory or out of range."""


class DataError(ExpungeError):
    """Images or tables could not be read, or disagree with each other."""


class SettingsError(ExpungeError):
    """A setting is unknown, of the wrong type or out of range."""


class OutputError(ExpungeError):
    """Results could not be written where they should go."""


class LedgerError(ExpungeError):
    """The ledger of deletion requests, its files or its state are not what they should be."""


class RuinedError(ExpungeError):
    """What was asked can't be done without ruining the classifier, which was left as it was."""


class ProcessError(ExpungeError):
    """One of several processes that work on one edit is gone, or they could not be started."""


class OutOfMemoryError(ExpungeError):
    """Memory does not suffice for one image."""


class ExpungeWarning(UserWarning):
    """Something the user should know, that does not stop the work."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest of the known names; empty if none is near.

    Of dotted names the last parts are compared, so that one is found without its table; case doesn't count.

    >>> suggest("Radios", ["rate", "attack.radius"])
    'did you mean `attack.radius`?'
    """
    near = nearest(name.rpartition(".")[2], {each.rpartition(".")[2]: each for each in reversed(list(known))})
    return f"did you mean `{near[0]}`?" if near else ""


def nearest(name: str, known: Mapping[str, str], count: int = 1) -> list[str]:
    """Return at most `count` values of those keys of `known` that are nearest to `name`, in whatever case.

    >>> nearest("CAT", {"dog": "dog", "cat": "cat"})
    ['cat']
    """
    lowered = {key.lower(): value for key, value in known.items()}
    return [lowered[key] for key in get_close_matches(name.lower(), lowered, n=count)]


@contextmanager
def package_needed(package: str, extra: str, kind: type[ExpungeError] = ExpungeError) -> Iterator[None]:
    """Say what to install where an import in the block fails.

    Args:
        package: what the block imports.
        extra: the extra of this package that brings it.
        kind: the error to raise.

    Raises:
        ExpungeError: of that kind; the package is not installed, or not whole.

    >>> with package_needed("no_such_package", "models"):
    ...     import no_such_package
    Traceback (most recent call last):
    ...
    expunge.base.errors.ExpungeError: `no_such_package`: expected an installed package, got none; pip install ...
    """
    try:
        yield
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError) and error.name in (package, package.partition(".")[0])
        found = "none" if is_missing else str(error)
        raise kind(package, "an installed package", found, f"pip install expunge[{extra}]") from error


def one_line(error: BaseException) -> str:
    r"""Return an error's kind and text on one line.

    >>> one_line(ValueError("this\n  and that"))
    'ValueError: this and that'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())
