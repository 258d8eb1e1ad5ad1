"""Grids of edits: many classifiers, data, methods, goals, counts and seeds; resumable, with tables made from them."""

from expunge.bench.cells import Cell, make_cells
from expunge.bench.grid import Grid, read_grid

__all__ = ["Cell", "Grid", "make_cells", "read_grid"]
