"""Writes of the rollout: each locks in one stated order, records one history entry, and raises the revision by one."""
