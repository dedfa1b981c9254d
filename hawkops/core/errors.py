"""Errors a person or a program can act on. The message says what is wrong and what to do."""


class HawkOpsError(Exception):
    """Base of all refusals; `status` is the HTTP status a door answers with."""

    status = 400

    @property
    def message(self) -> str:
        """The sentence to show."""
        return str(self)


class InvalidInput(HawkOpsError):
    """The input can't be accepted as it is; nothing was changed."""


class NotAllowed(HawkOpsError):
    """The person or key lacks the right."""

    status = 403


class NotFound(HawkOpsError):
    """There is no such thing here."""

    status = 404


class Conflict(HawkOpsError):
    """Somebody was faster; look again before deciding."""

    status = 409
