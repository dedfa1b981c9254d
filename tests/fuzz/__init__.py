"""Nonsense of every kind at every door: never a 5xx, and what is refused has changed nothing.

Each file is bounded to seconds and repeats the same nonsense every time. `FUZZ=50` makes fifty times as much of it,
new each time: `FUZZ=50 uv run pytest tests/fuzz`.
"""
