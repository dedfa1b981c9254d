"""Signs of HawkOps' own life: what is read, what limit it keeps, and what to do when it does not."""
