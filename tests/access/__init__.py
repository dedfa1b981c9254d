"""The access matrix: who may do what, as a table that an auditor reads and the tests try."""
