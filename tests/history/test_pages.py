"""The auditor's pages: a line that is refused says why, graphs are bounded, files are exactly what was asked."""

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history import causes
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change

pytestmark = pytest.mark.django_db
HOSTILE = '<script>alert("x")</script>'
MIA = Actor("person:7", HOSTILE)


def wrote(
    verb: str, *, cause: int | None = None, subject: str = "thing:1", environment: str = "demo", **given: Any
) -> int:
    with change(actor=MIA, environment=environment, cause=cause, reason=given.pop("reason", HOSTILE)) as this:
        this.record(verb, subject=subject, **given)
    return this.entries[0].seq


@pytest.fixture
def auditor(person: Callable[..., Any], client_as: Callable[[Any], Any]) -> Any:
    return client_as(person("auditor", Role.AUDITOR, environment="demo"))


def test_entries__a_line_that_can_not_be_read__says_why_beside_the_field_and_lists_nothing(auditor: Any) -> None:
    seq = wrote("thing.made")
    for line, says in (
        ("actr:mia", "There is no qualifier"),
        ("since:never", "is not a time"),
        ("env:production", "no role in"),
    ):
        answer = auditor.get("/demo/history", {"q": line})
        assert answer.status_code == 422
        assert says in answer.content.decode()
        assert f"/demo/history/{seq}" not in answer.content.decode()
        assert auditor.get("/demo/history.csv", {"q": line}).status_code == 422


def test_entries__earlier_addresses_and_the_form__become_the_line(auditor: Any) -> None:
    seq = wrote("thing.made", subject="thing:7")
    other = wrote("other.made", subject="other:7")
    given = {
        "verb": "thing. flag.",
        "actor": "person:7",
        "subject": "thing:7",
        "from": "2020-01-01T00:00",
        "scope": "all",
    }
    page = auditor.get("/demo/history", given).content.decode()
    assert "verb:thing.,flag." in page
    assert f"/demo/history/{seq}" in page
    assert f"/demo/history/{other}" not in page


def test_pages__hostile_texts__are_texts(auditor: Any) -> None:
    seq = wrote("thing.made", subject=f"thing:{HOSTILE}"[:60], after={HOSTILE: HOSTILE}, before={HOSTILE: 1})
    for path in ("history", f"history/{seq}", f"history/subject/thing:{HOSTILE}"[:70], "history/subject/a/b//..?at=x"):
        answer = auditor.get(f"/demo/{path}")
        assert answer.status_code in (200, 422), path
        assert HOSTILE not in answer.content.decode(), path


def test_entry__of_an_environment_without_a_role__is_not_there(auditor: Any) -> None:
    theirs = wrote("thing.made", environment="production")
    assert auditor.get(f"/demo/history/{theirs}").status_code == 404
    own = wrote("thing.followed", cause=theirs)
    page = auditor.get(f"/demo/history/{own}").content.decode()
    assert "causes before" in page
    assert auditor.get("/demo/history/subject/thing:1", {"entry": theirs}).status_code == 422


def test_graph__from_the_first_cause_to_all_effects__with_delays(auditor: Any) -> None:
    root = wrote("alert.fired")
    middle = wrote("rule.acted", cause=root)
    here = wrote("flag.killed", cause=middle)
    effect = wrote("census.done", cause=here)
    found = causes.graph(HistoryEntry.objects.get(pk=here), readable=["demo"])
    assert [found.root.entry.pk, found.root.effects[0].entry.pk] == [root, middle]
    node = found.root.effects[0].effects[0]
    assert (node.here, node.effects[0].entry.pk) == (True, effect)
    assert found.nodes == 4
    assert node.delay.startswith("+")
    page = auditor.get(f"/demo/history/{here}").content.decode()
    for seq in (root, middle, effect):
        assert f'href="/demo/history/{seq}"' in page


def test_graph__many_effects_and_a_long_way__is_bounded_and_holds_the_entry() -> None:
    root = wrote("alert.fired")
    with change(actor=MIA, environment="demo", cause=root) as this:
        for number in range(30):
            this.record("page.sent", subject=f"page:{number}")
    last = this.entries[-1].seq
    for _ in range(60):
        last = wrote("thing.followed", cause=last)
    found = causes.graph(HistoryEntry.objects.get(pk=last), readable=["demo"])
    assert found.cut
    wide = causes.graph(this.entries[-1], readable=["demo"])
    assert wide.root.more
    assert len(wide.root.effects) == causes.BRANCHES_MOST + 1
    assert [node.here for node in wide.root.effects].count(True) == 1
    for graph in (found, wide):
        assert graph.nodes <= causes.NODES_MOST + causes.UP_MOST + causes.BRANCHES_MOST


def test_files__are_exactly_what_is_asked__and_no_text_is_a_formula(auditor: Any) -> None:
    wanted = [
        wrote("thing.made", reason=reason, after={"a": 1}) for reason in ("=1+1", "+1", "-1", "@a", "\t=1", "fine")
    ]
    wrote("other.made")
    answer = auditor.get("/demo/history.csv", {"q": "verb:thing."})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [int(row["entry"]) for row in rows] == wanted[::-1]
    assert [row["reason"] for row in rows] == ["fine", "'\t=1", "'@a", "'-1", "'+1", "'=1+1"]
    assert rows[0]["after"] == '{"a":1}'
    answer = auditor.get("/demo/history.jsonl", {"q": "verb:thing."})
    about, *lines = [json.loads(line) for line in b"".join(answer.streaming_content).decode().splitlines()]
    assert about["export"]["asked"] == "verb:thing."
    assert "history_export" in about["export"]["note"]
    assert [line["entry"] for line in lines] == wanted[::-1]
    assert lines[-1]["reason"] == "=1+1"


def test_files__more_than_one_reading__lose_and_repeat_nothing(auditor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hawkops.history.listing.EXPORT_ROWS", 3)
    wanted = [wrote("thing.made") for _ in range(10)]
    lines = b"".join(auditor.get("/demo/history.jsonl", {"q": "verb:thing."}).streaming_content).decode().splitlines()
    assert [json.loads(line)["entry"] for line in lines[1:]] == wanted[::-1]


def test_subject__at_a_time__shows_what_stood_and_what_changed_since(auditor: Any) -> None:
    wrote("thing.made", after={"size": "small"})
    first = HistoryEntry.objects.order_by("-seq")[0]
    second = wrote("thing.changed", before={"size": "small"}, after={"size": "large"})
    then = auditor.get("/demo/history/subject/thing:1", {"at": first.at.isoformat()}).content.decode()
    assert "as it was" in then
    assert "<del>small</del>" in then
    assert "<ins>large</ins>" in then
    assert auditor.get("/demo/history/subject/thing:1", {"entry": second}).status_code == 200
    wrote("thing.deleted", before={"size": "large"})
    assert "It was over" in auditor.get("/demo/history/subject/thing:1").content.decode()
    long_ago = (clock.now() - timedelta(days=9)).isoformat()
    assert "not there yet" in auditor.get("/demo/history/subject/thing:1", {"at": long_ago}).content.decode()
    for unfit in ({"at": "never"}, {"at": "2999-01-01T00:00"}, {"entry": "9" * 30}, {"entry": "x"}):
        assert auditor.get("/demo/history/subject/thing:1", unfit).status_code == 422, unfit
    assert auditor.get("/demo/history/at", {"subject": "thing:1", "at": ""})["Location"].startswith(
        "/demo/history/subject/thing:1"
    )
    assert auditor.get("/demo/history/at").status_code == 422
