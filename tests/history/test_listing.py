"""What a search finds: exactly what a plain reading of every entry finds, in pages that neither repeat nor skip."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history import listing
from hawkops.history.actors import Actor
from hawkops.history.domain.query import parse
from hawkops.history.models import ActorName, HistoryEntry, Personal
from hawkops.history.services import change

pytestmark = pytest.mark.django_db
READABLE = ("production", "staging", "demo")
MIA, RULE = Actor("person:7", "mia"), Actor.rule("alerts")


def wrote(verb: str, subject: str, *, actor: Actor = MIA, environment: str = "demo", **given: object) -> int:
    """One entry; its number."""
    with change(actor=actor, environment=environment, reason=str(given.pop("reason", "")), request_id="req-1") as this:
        this.record(verb, subject=subject, **given)  # type: ignore[arg-type]
    return this.entries[0].seq


def found(line: str, *, environment: str = "demo", readable: tuple[str, ...] = READABLE, limit: int = 50) -> list[int]:
    """The numbers that a line finds on its first page."""
    asked = listing.asked(parse(line, now=clock.now()), environment=environment, readable=readable)
    return [row.seq for row in listing.page(asked, limit=limit).rows]


def test_words__identifiers__are_found_whole_in_part_and_by_their_beginning() -> None:
    seq = wrote(
        "flag.killed",
        "flag:litert_enabled",
        after={"note": "Übertemperatur on gpu.driver < 512"},
        reason="INC-42: harm",
    )
    for line in (
        "litert_enabled",
        "litert",
        "enabl",
        "litert_ena",
        "flag.killed",
        "killed",
        "INC-42",
        "inc-4",
        "gpu.driver",
        "übertemp",
        '"driver < 512"',
        '"flag killed flag litert_enabled"',
        "mia",
        "LITERT harm",
    ):
        assert found(line) == [seq], line
    for line in ("nabled", '"enabled litert"', '"harm inc"', "litert missing", "-litert", "-mia"):
        assert found(line) == [], line


def test_qualifiers__each_narrows_and_a_minus_takes_away() -> None:
    first = wrote("flag.killed", "flag:litert_enabled")
    second = wrote("alert.fired", "alert:7", actor=RULE)
    nowhere = wrote("person.created", "person:70", environment="")
    production = wrote("flag.killed", "flag:litert_enabled", environment="production")
    with change(actor=RULE, environment="demo", cause=second) as this:
        this.record("flag.override_set", subject="flag:litert_gpu_backend")
        this.record("history.heartbeat", subject="history:chain", hidden=True)
    third, hidden = (entry.seq for entry in this.entries)
    expected = {
        "": [third, nowhere, second, first],
        "actor:mia": [nowhere, first],
        "actor:MIA verb:flag.": [first],
        "actor:person:7": [nowhere, first],
        "actor:rule:": [third, second],
        "-actor:rule:": [nowhere, first],
        "actor:nobody": [],
        "verb:flag.": [third, first],
        "verb:flag.killed,alert.": [second, first],
        "verb:flag.killed verb:alert.": [second, first],
        "-verb:flag. -verb:alert.": [nowhere],
        "subject:flag:litert_enabled": [first],
        "subject:flag:": [third, first],
        "subject:litert": [third, first],
        "subject:person:7": [],
        "subject:person:7*": [nowhere],
        "env:production": [production],
        "env:production,demo": [third, production, second, first],
        "env:all": [third, production, nowhere, second, first],
        "env:none": [nowhere],
        "-env:none": [third, second, first],
        f"cause:{second}": [third],
        f"cause:{second} hidden:yes": [hidden, third],
        "hidden:only": [hidden],
        "request:req-1": [nowhere, second, first],
        "since:1h": [third, nowhere, second, first],
        "until:1h": [],
    }
    base = first - 1
    for line, seqs in expected.items():
        assert [seq for seq in found(line) if seq > base] == seqs, line


def test_environments__one_without_a_role__can_not_be_asked_for_and_all_leaves_it_out() -> None:
    wrote("flag.killed", "flag:litert_enabled", environment="production")
    own = wrote("flag.killed", "flag:litert_enabled")
    with pytest.raises(InvalidInput, match="no role in production"):
        found("env:production", readable=("demo",))
    assert found("env:all verb:flag.", readable=("demo",)) == [own]


def test_names__erased__are_found_no_more_and_the_reference_is() -> None:
    seq = wrote("flag.killed", "flag:litert_enabled")
    other = wrote("flag.killed", "flag:litert_enabled")
    assert found("actor:mia") == [other, seq]
    Personal.objects.filter(pk=seq).delete()
    assert ActorName.objects.filter(label="mia").exists(), "one entry still has it"
    Personal.objects.filter(pk=other).update(label="erased")
    assert not ActorName.objects.filter(label="mia").exists()
    assert found("actor:mia") == found("mia") == []
    assert found("actor:person:7") == [other, seq]


@pytest.mark.parametrize("line", ["'", "a'b", "\\", 'subject:"%s\'||1"', "actor:%", "x*", "!a", "a&b", "(a|b)"])
def test_hostile_lines__are_words_and_nothing_else(line: str) -> None:
    try:
        assert found(line) == []
    except InvalidInput as refusal:
        assert "no word" in refusal.message


def test_long_texts__do_not_stop_a_change() -> None:
    seq = wrote(
        "note.kept", "note:1", after={"text": "x" * 300_000, "words": [f"w{number}" for number in range(60_000)]}
    )
    assert found("subject:note:1") == [seq]


WORDS = ("alpha", "beta", "gamma", "delta")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_pages__joined__are_what_a_plain_reading_finds(seed: int, limit: int) -> None:
    """With spans so small that everything is halved and halved again."""
    chance = random.Random(seed)
    kept = listing.NEAR_ROWS, listing.SORTED_MOST
    listing.NEAR_ROWS, listing.SORTED_MOST = 5, 3
    try:
        with change(actor=MIA, environment="demo") as this:
            for _ in range(60):
                this.record(
                    f"{chance.choice('ab')}.{chance.choice('cd')}",
                    subject=f"thing:{chance.randrange(4)}",
                    after={"said": chance.sample(WORDS, chance.randrange(3))},
                )
        start = this.entries[0].seq
        cases: tuple[tuple[str, Callable[[HistoryEntry], bool]], ...] = (
            ("verb:a.", lambda row: row.verb.startswith("a.")),
            ("alpha -verb:a.c", lambda row: "alpha" in (row.after_text or "") and row.verb != "a.c"),
            ("subject:thing:2 beta", lambda row: row.subject == "thing:2" and "beta" in (row.after_text or "")),
        )
        for line, holds in cases:
            asked = listing.asked(
                parse(f"{line} since:{this.entries[0].at.isoformat()}", now=clock.now() + timedelta(hours=1)),
                environment="demo",
                readable=READABLE,
            )
            read: list[int] = []
            before: int | None = None
            while True:
                page = listing.page(asked, before=before, limit=limit)
                read += [row.seq for row in page.rows]
                if page.older_than is None:
                    break
                before = page.older_than
            rows = HistoryEntry.objects.filter(seq__gte=start).order_by("-seq")
            assert read == [row.seq for row in rows if holds(row)], line
    finally:
        listing.NEAR_ROWS, listing.SORTED_MOST = kept
