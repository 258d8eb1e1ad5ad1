"""Least change: the smallest change of the answers elsewhere that makes every row hold the goal."""
