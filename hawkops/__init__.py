"""The roof and the ground floor of HawkOps."""
