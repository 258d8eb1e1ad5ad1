"""Least change: the smallest change of the answers elsewhere that makes every image of the forget set hold the goal."""
