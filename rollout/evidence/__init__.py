"""Automatic checks: small functions `(release) -> Finding`, registered by name in `registry`."""
