"""The kernel: what every part stands on, without tables of its own."""
