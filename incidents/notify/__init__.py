"""Kinds of channels, one module each, gathered in `registry`. To add one: a module with a `Way`, and a line there."""
