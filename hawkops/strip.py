"""The status strip."""

from typing import Any

from django.http import HttpRequest


def page(request: HttpRequest) -> dict[str, Any]:
    """Give every template its environment."""
    return {"environment": str(getattr(request, "environment", ""))}
