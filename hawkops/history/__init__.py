"""The change history: one append-only, hash-chained entry for every change, written in the change's own transaction.

Services open a `change` (history.services), save, and `record` what they did; the entries are appended last, together.
"""
