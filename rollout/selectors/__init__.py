"""Reads of the rollout."""
