"""Who may enter: people with roles, devices with keys."""
