"""Reads of monitoring, one module for each subject."""
