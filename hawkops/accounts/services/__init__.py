"""Writes on who may enter: people, their ways in, and what devices and programs carry. Each is a history entry."""
