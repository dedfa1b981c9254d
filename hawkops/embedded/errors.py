"""Why a start was refused, in a sentence that says what to do."""


class StartRefused(Exception):
    """Nothing is left half-started when this reaches the person."""
