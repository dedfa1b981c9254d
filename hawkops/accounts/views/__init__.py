"""Pages for signing in, and for the administrator's people, keys and tokens. GET never changes anything."""
