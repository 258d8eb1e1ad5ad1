"""Where images come from, and which of them are to be forgotten."""

from expunge.data.selection import forget_set, random_rows, rows_from_numbers, rows_from_table
from expunge.data.sources.splits import DataRequest, DataSplits
from expunge.data.sources.table import SOURCES, load_data, parse_source

__all__ = [
    "SOURCES",
    "DataRequest",
    "DataSplits",
    "forget_set",
    "load_data",
    "parse_source",
    "random_rows",
    "rows_from_numbers",
    "rows_from_table",
]
