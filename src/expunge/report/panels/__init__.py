"""The parts of a page, one a file."""
