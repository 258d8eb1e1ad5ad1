"""Classifiers: what they are, where they come from, how they run faster, how they are exported."""
