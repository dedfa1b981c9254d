"""What a browser sends for another site changes nothing: every address asks for the form's token, or says why not."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver, resolve

from hawkops.core.access import Role
from hawkops.history.models import Head
from tests.access import table
from tests.access.test_matrix import _any, _routes
from tests.pages.test_access import shown

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
# a browser's session opens none of these
EXEMPT = {
    "alertmanager": "a program's bearer token",
    "pagerduty": "a signature over the body",
    "api_nothing": "answers 404, whatever is sent",
}


@pytest.mark.django_db
def test_every_address__without_the_token__refuses_what_changes(person: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("somebody", Role.ADMIN))
    seq = Head.objects.get().seq
    operations = {(one.method, one.address) for one in table.read() if one.door == "API"}
    exempt, tried = set(), 0
    for route, callback in _routes(get_resolver().url_patterns):
        path = "/" + re.sub(r"<(?:(\w+):)?(\w+)>", _any, route)
        is_api = resolve(path).namespace == "api"
        if getattr(callback, "csrf_exempt", False) and not is_api:
            exempt.add(resolve(path).url_name)
            continue
        # the middleware asks before the view is chosen by method; an operation asks for itself
        for method in [one for one in UNSAFE if (one, shown(route)) in operations] if is_api else ["POST"]:
            answer = client.generic(method, path, b"{}", "application/json")
            assert answer.status_code == 403, (method, path, answer.status_code)
            said = answer.content.decode()
            assert "form token" in said or "Nothing was changed" in said, (method, path)
            tried += 1
    assert tried > len(operations & {(method, address) for method, address in operations if method in UNSAFE})
    assert exempt == set(EXEMPT)
    assert Head.objects.get().seq == seq
