"""The door for telemetry: OTLP/HTTP metrics, bounded, answered after the commit. Bare ASGI."""
