"""The door for flags: OFREP single and bulk, its change stream, and the census. Bare ASGI, no query in a request."""
