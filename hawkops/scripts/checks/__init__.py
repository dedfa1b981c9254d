"""Checks that need this installation: its settings, its database, its keys. Apps above register theirs."""
