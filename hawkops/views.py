"""The overview and what belongs to no single app."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse


def root(request: HttpRequest) -> HttpResponse:
    """To be written."""
    return HttpResponse("")


@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the console answers."""
    return HttpResponse("ok")


def overview(request: HttpRequest, environment: str) -> HttpResponse:
    """To be written."""
    return HttpResponse("")


def strip(request: HttpRequest, environment: str) -> HttpResponse:
    """To be written."""
    return HttpResponse("")
