"""Changing flags: one revision, one entry, nothing on refusal."""

import threading

import pytest
from django.db import connection

from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.history.services import history_verify
from rollout.models import EnvironmentFlags, Flag
from rollout.selectors.flags import flag_percentages, revision
from rollout.services.flags import flag_percentage_set, flags_seed
from rollout.services.overrides import backend_disable, kill, reenable
from rollout.services.raising import LITERT_FLAGS

ONCALL = Actor("person:1", "oncall-1")


@pytest.fixture
def flags(db: None) -> None:
    flags_seed(actor=Actor.system("test"))


@pytest.mark.usefixtures("flags")
class TestFlags:
    def test_seed__twice__adds_nothing_and_production_starts_at_zero(self) -> None:
        assert flags_seed(actor=ONCALL) == 0
        assert {flag_percentages("production")[key] for key in LITERT_FLAGS} == {0.0}
        assert flag_percentages("demo")["litert_enabled"] == 100.0

    def test_kill__pressed__is_one_revision_and_one_entry_with_both_flags(self) -> None:
        before = revision("demo")
        entry = kill(environment="demo", actor=ONCALL, reason="")
        assert entry is not None
        assert revision("demo") == before + 1
        assert entry.verb == "flag.killed"
        assert set(entry.after) == {"litert_enabled", "ai_fallback_to_cloud"}
        assert entry.reason == "Production incident"
        off = Flag.objects.get(environment="demo", key="litert_enabled")
        assert (off.override_variant, off.override_by) == ("off", "oncall-1")
        assert revision("production") == 1

    def test_kill__pressed_twice__does_nothing_the_second_time(self) -> None:
        kill(environment="demo", actor=ONCALL, reason="")
        seq, at = Head.objects.get().seq, revision("demo")
        assert kill(environment="demo", actor=ONCALL, reason="") is None
        assert (Head.objects.get().seq, revision("demo")) == (seq, at)

    def test_reenable__after_a_kill__lifts_both_and_needs_a_reason(self) -> None:
        kill(environment="demo", actor=ONCALL, reason="")
        with pytest.raises(InvalidInput, match="Say why"):
            reenable(environment="demo", keys=["litert_enabled"], actor=ONCALL, reason=" ")
        reenable(environment="demo", keys=["litert_enabled", "ai_fallback_to_cloud"], actor=ONCALL, reason="Fixed")
        assert not Flag.objects.exclude(override_variant="").exists()

    def test_percentage__stale_revision__is_a_conflict_and_changes_nothing(self) -> None:
        flag = Flag.objects.get(environment="staging", key="litert_enabled")
        flag_percentage_set(
            environment="staging",
            key="litert_enabled",
            percent=1,
            actor=ONCALL,
            reason="phase 1",
            expected_revision=flag.revision,
        )
        seq = Head.objects.get().seq
        with pytest.raises(Conflict, match="Look again"):
            flag_percentage_set(
                environment="staging",
                key="litert_enabled",
                percent=50,
                actor=ONCALL,
                reason="typo",
                expected_revision=flag.revision,
            )
        assert flag_percentages("staging")["litert_enabled"] == 1.0
        assert Head.objects.get().seq == seq

    @pytest.mark.parametrize("percent", [-1, 100.1, float("nan")])
    def test_percentage__outside_range__is_refused(self, percent: float) -> None:
        with pytest.raises(InvalidInput):
            flag_percentage_set(environment="demo", key="litert_enabled", percent=percent, actor=ONCALL, reason="x")

    def test_unknown__flag_or_backend__is_refused_in_words(self) -> None:
        with pytest.raises(NotFound, match="no flag"):
            flag_percentage_set(environment="demo", key="nope", percent=1, actor=ONCALL, reason="x")
        with pytest.raises(InvalidInput, match="gpu, npu, adaptive"):
            backend_disable(environment="demo", backend="tpu", actor=ONCALL, reason="x")


@pytest.mark.fresh_database
def test_kill__pressed_by_ten_people_at_once__is_one_change() -> None:
    flags_seed(actor=Actor.system("test"))
    entries: list[HistoryEntry | None] = []

    def press(number: int) -> None:
        entries.append(kill(environment="demo", actor=Actor(f"person:{number}", f"p{number}"), reason="Drill"))
        connection.close()

    threads = [threading.Thread(target=press, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(entries) == 10
    assert sum(entry is not None for entry in entries) == 1
    assert EnvironmentFlags.objects.get(pk="demo").revision == 2
    assert history_verify(requested_by="test").good
