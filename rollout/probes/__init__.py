"""Checks of the rollout, as `manage.py probe` calls them."""
