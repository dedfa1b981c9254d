"""Writes of incidents: each records one history entry in its transaction."""
