"""Surrogates: images that stand in for the data that is not there, one kind a file."""
