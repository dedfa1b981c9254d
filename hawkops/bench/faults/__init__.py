"""`manage.py bench faults`: an installation of its own under load, one fault at a time, and what was lost by it."""
