"""Flags and their evaluation, OFREP, releases, gates and evidence."""
