"""Who is told of every step of an edit: functions of the user's own, and the loggers that people use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.base.errors import SettingsError, package_needed


@dataclass(frozen=True, slots=True)
class TracePoint:
    """The state after one step: seconds since the start, losses by name, number of rows that hold the goal."""

    step: int
    seconds: float
    losses: Mapping[str, float]
    achieved: int

    def figures(self) -> dict[str, float]:
        """Return what a logger draws over the steps, by name.

        >>> TracePoint(1, 0.5, {"forget": 2.0}, 3).figures()
        {'achieved': 3, 'seconds': 0.5, 'loss/forget': 2.0}
        """
        losses = {f"loss/{name}": loss for name, loss in self.losses.items()}
        return {"achieved": self.achieved, "seconds": self.seconds, **losses}


Callback = Callable[[TracePoint], object]
"""Is called with each point of the trace, in the first process only; what it returns is not looked at."""


class TensorBoard:
    """Writes every step to a folder that TensorBoard shows.

    Args:
        folder: of this edit.

    Raises:
        ExpungeError: tensorboard isn't installed.
    """

    def __init__(self, folder: str | Path) -> None:
        with package_needed("tensorboard", "loggers"):
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional extra
        self._writer: Any = SummaryWriter(str(folder))

    def __call__(self, point: TracePoint) -> None:
        """Write one point, so that it is seen at once."""
        for name, value in point.figures().items():
            self._writer.add_scalar(name, value, point.step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file; Python's end closes it, too."""
        self._writer.close()


class WeightsAndBiases:
    """Logs every step to a run of Weights & Biases.

    Args:
        run: what `wandb.init` returned; default: a new run with wandb's own settings.

    Raises:
        ExpungeError: no run, and wandb isn't installed.
    """

    def __init__(self, run: Any = None) -> None:  # noqa: ANN401 - a type of an optional package
        if run is None:
            with package_needed("wandb", "loggers"):
                import wandb  # noqa: PLC0415 - an optional extra
            run = wandb.init()
        self._run = run

    def __call__(self, point: TracePoint) -> None:
        """Log one point."""
        self._run.log(point.figures(), step=point.step)


class MLflow:
    """Logs every step to MLflow's active run, or to one that it starts.

    Raises:
        ExpungeError: mlflow isn't installed.
    """

    def __init__(self) -> None:
        with package_needed("mlflow", "loggers"):
            import mlflow  # noqa: PLC0415 - an optional extra
        self._mlflow: Any = mlflow

    def __call__(self, point: TracePoint) -> None:
        """Log one point; MLflow starts a run where none is active."""
        self._mlflow.log_metrics(point.figures(), step=point.step)


LOGGERS: Mapping[str, Callable[[str], Callback]] = {
    "tensorboard": lambda place: TensorBoard(place or "runs"),
    "wandb": lambda _: WeightsAndBiases(),
    "mlflow": lambda _: MLflow(),
}


def find_logger(name: str) -> Callback:
    """Return the logger of that name: tensorboard:FOLDER, wandb or mlflow.

    Raises:
        SettingsError: an unknown one.
        ExpungeError: its package isn't installed.

    >>> find_logger("paper")
    Traceback (most recent call last):
    ...
    expunge.base.errors.SettingsError: `log`: expected tensorboard:FOLDER, wandb or mlflow, got paper
    """
    kind, _, place = name.partition(":")
    if kind not in LOGGERS:
        raise SettingsError("log", "tensorboard:FOLDER, wandb or mlflow", name)
    return LOGGERS[kind](place)
