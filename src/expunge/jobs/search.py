"""The search for settings: in which ranges, and a study that goes on where it was stopped."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from expunge.base.errors import OutputError, SettingsError, package_needed, suggest
from expunge.base.settings import Setting

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

PURPOSE = "purpose"


@dataclass(frozen=True, slots=True)
class SearchRange:
    """Values of one setting that are tried, evenly by their logarithm.

    Raises:
        SettingsError: the range does not start above 0 and end after its start.

    >>> str(SearchRange("rate", 1e-5, 1e-1))
    'rate 1e-05..0.1'
    """

    name: str
    low: float
    high: float
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            got = f"{self.low:g}..{self.high:g}"
            raise SettingsError(f"range of {self.name}", "LOW..HIGH with 0 < LOW < HIGH", got)

    def __str__(self) -> str:
        return f"{self.name} {self.low:.4g}..{self.high:.4g}"


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that were tried, by dotted name, their score (the lower the better), and figures to go with it."""

    values: Mapping[str, float]
    score: float
    figures: Mapping[str, float]


def find_ranges(
    settings: Sequence[Setting], given: Mapping[str, str], fixed: Collection[str]
) -> tuple[SearchRange, ...]:
    """Return the ranges to search: those given, and those that settings declare around their default (`spread`).

    Args:
        settings: of the method, with the values that the search starts from.
        given: LOW..HIGH by dotted name.
        fixed: names that keep their value; a range given for one wins.

    Raises:
        SettingsError: an unknown name, a setting that is no number, a range of another form or beyond what the setting
            allows, or nothing to search.
    """
    by_name = {item.name: item for item in settings}
    ranges = [_read_range(by_name, name, text) for name, text in given.items()]
    for item in settings:
        if item.spread is None or not item.default or item.name in given or item.name in fixed:
            continue
        highest = item.default * item.spread
        if item.range.at_most is not None:
            highest = min(highest, item.range.at_most)
        ranges.append(SearchRange(item.name, item.default / item.spread, highest, isinstance(item.default, int)))
    if not ranges:
        raise SettingsError("--range", "at least one setting to search", "none", "say --range NAME=LOW..HIGH")
    return tuple(ranges)


class Search:
    """A study in one file: trials are asked for, told, and never tried twice after a stop.

    The first trial is the values that the search starts from, so that the best is never worse than they are. Each next
    one depends on the finished trials only (tree-structured Parzen estimator, Bergstra et al. 2011, with a seed made of
    `seed` and their number), so a search that was stopped goes on to the same trials.

    Raises:
        SettingsError: Optuna is not installed.
        OutputError: the file holds the search of something else.
    """

    def __init__(self, file: Path, ranges: Sequence[SearchRange], *, purpose: str, seed: int) -> None:
        self._seed, self._optuna = seed, _import_optuna()
        self._distributions = {each.name: self._distribution(each) for each in ranges}
        self._study = self._open(file)
        known = self._study.user_attrs.get(PURPOSE)
        if known is None:
            self._study.set_user_attr(PURPOSE, purpose)
        elif known != purpose:
            raise OutputError(str(file), "the search of this command", "another one", "choose another, or --overwrite")
        for trial in self._study.get_trials(deepcopy=False):
            if not trial.state.is_finished() and trial.state.name == "RUNNING":
                self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    @property
    def trials(self) -> list[Trial]:
        """Return the finished trials in order."""
        return [_read(trial) for trial in self._finished()]

    def try_next(self, first: Mapping[str, float], judge: Callable[[Mapping[str, float]], tuple[float, Any]]) -> None:
        """Ask for values, have them judged, and keep the score and the figures.

        Args:
            first: what to begin with.
            judge: gives the score and figures of values by dotted name.
        """
        count = len(self._finished())
        self._study.sampler = self._optuna.samplers.TPESampler(seed=_mix(self._seed, count), n_startup_trials=5)
        if count == 0:
            self._study.enqueue_trial(dict(first), skip_if_exists=False)
        trial = self._study.ask(self._distributions)
        score, figures = judge(dict(trial.params))
        for name, value in figures.items():
            trial.set_user_attr(name, value)
        self._study.tell(trial, score)

    def _finished(self) -> "list[FrozenTrial]":
        return [each for each in self._study.get_trials(deepcopy=False) if each.state.name == "COMPLETE"]

    def _open(self, file: Path) -> "Study":
        journal = self._optuna.storages.journal
        storage = self._optuna.storages.JournalStorage(journal.JournalFileBackend(str(file)))
        study: Study = self._optuna.create_study(storage=storage, study_name="tune", load_if_exists=True)
        return study

    def _distribution(self, each: SearchRange) -> "BaseDistribution":
        kinds = self._optuna.distributions
        if each.whole:
            whole: BaseDistribution = kinds.IntDistribution(max(1, round(each.low)), round(each.high), log=True)
            return whole
        number: BaseDistribution = kinds.FloatDistribution(each.low, each.high, log=True)
        return number


def _mix(seed: int, count: int) -> int:
    return int(np.random.SeedSequence([seed, count]).generate_state(1)[0])


def _read(trial: "FrozenTrial") -> Trial:
    return Trial(dict(trial.params), float(trial.value or 0.0), dict(trial.user_attrs))


def _read_range(by_name: Mapping[str, Setting], name: str, text: str) -> SearchRange:
    if name not in by_name:
        hint = suggest(name, by_name)
        raise SettingsError(f"range of {name}", f"one of {', '.join(by_name)}", "an unknown setting", hint)
    item, (low, dots, high) = by_name[name], text.partition("..")
    if isinstance(item.default, bool) or not isinstance(item.default, (int, float, type(None))):
        raise SettingsError(f"range of {name}", "a setting that is a number", repr(item.default))
    try:
        found = SearchRange(name, float(low), float(high), isinstance(item.default, int))
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"range of {name}", "LOW..HIGH, such as 1e-4..1e-1", text) from error
    if not dots or found.low not in item.range or found.high not in item.range:
        raise SettingsError(f"range of {name}", f"LOW..HIGH, {item.range}", text)
    if found.whole and not (found.low.is_integer() and found.high.is_integer()):
        raise SettingsError(f"range of {name}", "LOW..HIGH in whole numbers", text)
    return found


def _import_optuna() -> Any:  # noqa: ANN401 - a module
    with package_needed("optuna", "tune", SettingsError):
        import optuna  # noqa: PLC0415 - an optional extra
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
