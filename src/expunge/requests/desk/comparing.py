"""Asks the classifier about the pictures of requests before an edit and after it, for the page that shows both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from expunge.data.forget import ForgetSet
from expunge.requests.desk.answers import Answer, write_answers
from expunge.requests.images import load_rows
from expunge.requests.project import Ledger
from expunge.requests.state import State
from expunge.requests.weights import load_first, read_current, with_weights
from expunge.task.evaluation import compute_logits


@dataclass(frozen=True, slots=True)
class Before:
    """What the classifier answered before an edit to the pictures that it is about."""

    rows: dict[str, ForgetSet]
    answers: dict[str, tuple[torch.Tensor, torch.Tensor]]

    @classmethod
    def of(cls, ledger: Ledger, names: Iterable[str]) -> "Before":
        """Ask the newest classifier about the pictures of these requests, or of all that wait."""
        waiting = [ledger.state.find(name) for name in names] or ledger.state.in_state(State.VALIDATED)
        rows = {one.name: load_rows(ledger, one) for one in waiting if one.images is not None}
        return cls(rows, _answers(ledger, rows))

    def compare(self, ledger: Ledger) -> None:
        """Keep the answers before and after, of the requests that were applied."""
        applied = {name: rows for name, rows in self.rows.items() if ledger.state.find(name).version is not None}
        for name, after in _answers(ledger, applied).items():
            pairs = zip(*self.answers[name], *after, strict=True)
            kept = [Answer(int(old), float(sure), int(new), float(now)) for old, sure, new, now in pairs]
            write_answers(ledger.folder, ledger.keys, name, ledger.state.find(name).version or 0, kept)


def _answers(ledger: Ledger, rows: Mapping[str, ForgetSet]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return answer and confidence of the newest classifier for each picture, by request."""
    if not rows:
        return {}
    newest = with_weights(load_first(ledger).classifier, read_current(ledger))
    found = {name: compute_logits(newest, part.x).softmax(dim=1).max(dim=1) for name, part in rows.items()}
    return {name: (best.indices, best.values) for name, best in found.items()}
