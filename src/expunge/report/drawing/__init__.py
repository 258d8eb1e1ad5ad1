"""Drawings as SVG, without torch."""
