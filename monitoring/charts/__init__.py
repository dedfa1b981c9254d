"""Figures of the dashboards: plain arrays for the browser."""
