"""Backups of the whole installation: the file's form, making one, and restoring it into an empty system."""
