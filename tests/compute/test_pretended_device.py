"""Runs what is tried on a device that is not there, in processes that know of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = ("contract/on_pretended_device.py", "cli/on_pretended_device.py")


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_on_a_pretended_device(file):
    pytest.importorskip("torch.utils.backend_registration", reason="this torch can't pretend")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS / file)]
    environment = {**os.environ, "EXPUNGE_PRETEND": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
