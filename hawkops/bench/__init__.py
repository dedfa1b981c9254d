"""Figures: `manage.py bench` measures a running installation over HTTP, with loads that end by themselves."""
