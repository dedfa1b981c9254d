"""Figures: `manage.py bench` measures a running installation from outside, over HTTP, with loads that end by themselves."""
