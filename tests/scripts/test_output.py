"""The output's page: searched, linked by line, followed while the run goes on."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from hawkops.core.access import Role
from hawkops.history.actors import Actor
from hawkops.scripts import services
from hawkops.scripts.models import Run, State
from tests.scripts.running import say, started

pytestmark = pytest.mark.django_db


@pytest.fixture
def running() -> Run:
    """A run that has said 2 500 lines and goes on."""
    taken = started()
    say(taken, *(f"line {number}" for number in range(1, 2501)))
    return taken


@pytest.fixture
def client(person: Callable[..., object], client_as: Callable[..., Client]) -> Client:
    """Somebody who looks."""
    return client_as(person("viewer", Role.VIEWER))


def test_running__shows_the_end_and_asks_for_more_after_it(running: Run, client: Client) -> None:
    page = client.get(f"/demo/runs/{running.pk}").content.decode()
    assert 'id="L2500"' in page and 'id="L1500"' not in page
    assert 'hx-get="?part=more&after=2500"' in page

    say(running, "and <b>then</b>", "this")
    more = client.get(f"/demo/runs/{running.pk}?part=more&after=2500").content.decode()
    assert more.startswith('<li id="L2501"')
    assert "and &lt;b&gt;then" in more and 'id="L2502"' in more and "line 2500" not in more
    assert 'hx-get="?part=more&after=2502"' in more


def test_ended__the_last_answer_asks_no_more(running: Run, client: Client) -> None:
    services.run_finish(run=running, state=State.PASSED, exit_code=0, summary="done", results=[])
    more = client.get(f"/demo/runs/{running.pk}?part=more&after=2490").content.decode()
    assert 'id="L2500"' in more and "hx-get" not in more
    page = client.get(f"/demo/runs/{running.pk}").content.decode()
    assert 'id="L1"' in page and 'href="?after=1000"' in page


def test_line__has_an_address_that_shows_it(running: Run, client: Client) -> None:
    page = client.get(f"/demo/runs/{running.pk}?line=1234").content.decode()
    assert 'href="?line=1234#L1234"' in page
    assert 'id="L1234"' in page


def test_search__finds_lines_whatever_their_case__each_with_its_address(running: Run, client: Client) -> None:
    say(running, "GPU driver 100%_ missing")
    page = client.get(f"/demo/runs/{running.pk}", {"q": "gpu DRIVER 100%_"}).content.decode()
    assert "1 line with" in page
    assert 'href="?line=2501#L2501"' in page
    assert 'id="L2500"' not in page


@pytest.mark.parametrize("query", ["line=x", "after=-1", "after=99999999999999999999", "line=²", "q=%01"])
def test_query__nonsense__is_taken_for_none(running: Run, client: Client, query: str) -> None:
    assert client.get(f"/demo/runs/{running.pk}?{query}").status_code == 200


def test_queued__behind_another__says_for_which_it_waits(running: Run, client: Client, person: Any) -> None:
    waiting = services.run_request(
        environment="demo", name=running.script, arguments={}, actor=Actor("person:1", "x"), send=False
    )
    page = client.get(f"/demo/runs/{waiting.pk}").content.decode()
    assert "Waits for" in page and f"/demo/runs/{running.pk}" in page
