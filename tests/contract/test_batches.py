"""No method sends more images through the network at once than the runtime allows, and all go on where memory ends."""

import pytest
import torch
from test_methods import CASES, OTHERS, ROWS, each_method

