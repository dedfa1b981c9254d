"""From the last release to this one: its data is kept, and it may still run while the new one migrates."""

# the newest migrations of the last release, by its number in each app
LAST = {"history": 2, "accounts": 7, "scripts": 6, "monitoring": 21, "rollout": 19, "incidents": 25}
