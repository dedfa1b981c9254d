"""Sketches, the catalogue of metrics, and targets: pure Python."""
