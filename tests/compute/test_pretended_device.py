"""Runs what is tried on a device that is not there, in processes that know of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

TESTS = Path(__file__).parents[1]
FILES = ("contract/on_pretended_device.py", "cli/on_pretended_device.py")


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_on_a_pretended_device(file):
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch knows no devices made in Python")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS / file)]
    environment = {**os.environ, "EXPUNGE_PRETEND": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
