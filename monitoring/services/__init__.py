"""Writes of monitoring, one module for each subject."""
