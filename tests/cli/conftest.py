"""A small job on disk: a network that anyone can import, its weights, images in arrays."""

import sys
from itertools import count
from types import SimpleNamespace

import pytest
from small_job import QUICK_FLAGS, write_job

from expunge.cli import main
from expunge.methods import engine


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return a folder with tiny_networks.py, weights.safetensors and images.npz, and the flags that use them.

    `plain`: the flags without settings of the method.
    """
    write_job(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_networks", raising=False)
    flags = ["run", "--model", "tiny_networks:build", "--weights", "weights.safetensors", "--mean", "0.5", "--std"]
    flags += ["0.25", "--data", "npz:images.npz", "--method", "l2ul", "--device", "cpu"]
    return SimpleNamespace(folder=tmp_path, flags=[*flags, *QUICK_FLAGS], plain=flags)


@pytest.fixture
def expunge(monkeypatch, capsys):
    """Return a function that runs the command line and gives exit code, output and error output.

    `reached`: the goal was reached, though so small a classifier may have been ruined by it.
    """

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["expunge", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return SimpleNamespace(code=code, out=captured.out, err=captured.err, reached=code in (0, 5))

    return call


@pytest.fixture
def interrupt_at(monkeypatch):
    """Return a function that has Ctrl-C come at an edit's look of that number, from 0 on, and gives what counts them.

    Edits look at their rows once at the start, and after each step.
    """
    look = engine._Judge.look

    def set_up(number):
        looked = count()

        def interrupted(*arguments, **options):
            if next(looked) == number:
                raise KeyboardInterrupt
            return look(*arguments, **options)

        monkeypatch.setattr(engine._Judge, "look", interrupted)
        return looked

    return set_up
