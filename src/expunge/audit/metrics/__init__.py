"""Figures as pure functions over stored answers, without torch."""
