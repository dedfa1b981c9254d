"""The response to a performance degradation: which backend, its press, and the recovery that is watched by itself."""

import argparse
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run, RunOutput
from incidents.selectors.degradation import degradation, rounds
from monitoring.probes.backends import backend_performance
from monitoring.selectors.backends import LOCAL, backends
from monitoring.services.criteria import criteria_seed
from rollout.models import CensusDevice, Flag
from rollout.services.flags import flags_seed
from tests.monitoring.rows import in_panel, stored
from tests.monitoring.test_probes import PHONE, fleet

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")
PRODUCTION, PAGE = "production", "/production/emergency/degradation"
As = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Rules, flags, and four devices that run LiteRT, three of them on the GPU."""
    criteria_seed(actor=SYSTEM)
    flags_seed(actor=SYSTEM)
    now = clock.now()
    CensusDevice.objects.bulk_create(
        CensusDevice(
            environment=PRODUCTION, device_id=f"device-{number}", told_revision=1, obeyed_revision=1,
            served_on=["litert_enabled", *(["litert_gpu_backend"] if number else [])],
            first_seen_at=now, last_seen_at=now,
        )
        for number in range(4)
    )  # fmt: skip


@pytest.fixture
def console(operator: User, client_as: As) -> Client:
    return client_as(operator)


def gpu(tokens: float, latency: float, *, minutes_ago: float = 0, many: int = 4) -> None:
    """What the GPU did for some minutes."""
    now = clock.now() - timedelta(minutes=minutes_ago)
    where = {
        "environment": PRODUCTION, "device_class": PHONE, "variant": "on", "requested": "gpu", "actual": "gpu",
    }  # fmt: skip
    for minute in range(many):
        at = now - timedelta(minutes=minute)
        stored("litert.prefill.throughput", [tokens] * 40, at, **where)
        stored("gen_ai.client.operation.duration", [latency] * 40, at, **where)
        stored("litert.inferences", [100.0], at, outcome="ok", **where)


def test_rows__one_affected__is_named_loud_and_first_with_its_numbers(console: Client) -> None:
    fleet()
    gpu(2_000.0, 1.0, minutes_ago=300)
    gpu(900.0, 6.0)
    now = clock.now()
    stored("litert.backend.switches", [7.0], now - timedelta(minutes=9), environment=PRODUCTION, device_class=PHONE,
           variant="on", requested="gpu", actual="cpu")  # fmt: skip
    for number in range(3):
        in_panel(f"gpu-{number}", "litert.inferences", now, environment=PRODUCTION, device_class=PHONE, actual="gpu")
    found = degradation(PRODUCTION)
    first = found.rows[0]
    assert (first.backend.name, first.loud, first.reach, first.off) == ("gpu", True, 3, False)
    assert first.backend.says == "Affected: GPU throughput, Inference latency, GPU"
    figures = first.figures
    assert figures.tokens == pytest.approx(900, rel=0.02) and figures.tokens_day == pytest.approx(2_000, rel=0.02)
    assert figures.against_day == pytest.approx(-55, abs=2)
    assert (figures.target, figures.switches, figures.devices) == (1_876.0, 7.0, 3)
    assert [row.loud for row in found.rows[1:]] == [False, False]
    text = console.get(PAGE).content.decode()
    assert "<h1>GPU is affected</h1>" in text and text.count("btn danger press") == 1
    assert "Disable GPU on 3 devices" in text and "Kill LiteRT on 4 devices" in text
    assert "<script>" not in text and " style=" not in text


def test_rows__nobody_affected__nothing_is_loud(console: Client) -> None:
    fleet()
    text = console.get(PAGE).content.decode()
    assert "<h1>No backend is affected</h1>" in text and "Nothing needs pressing." in text
    assert "btn danger" not in text and "panel loud" not in text


def test_rows__too_little_known__is_no_all_clear(console: Client) -> None:
    now = clock.now()
    where = {"environment": PRODUCTION, "device_class": PHONE, "variant": "on", "requested": "gpu", "actual": "gpu"}
    stored("litert.prefill.throughput", [900.0] * 3, now, **where)
    stored("litert.inferences", [3.0], now, outcome="ok", **where)
    text = console.get(PAGE).content.decode()
    assert "<h1>No backend is known to be affected</h1>" in text
    assert "Of GPU too little is known yet to say." in text and "Nothing needs pressing" not in text
    assert "btn danger" not in text and "panel loud" not in text


def test_rows__no_data__says_so_and_nothing_is_loud(console: Client) -> None:
    text = console.get(PAGE).content.decode()
    assert "<h1>No backend reports anything</h1>" in text
    assert "btn danger" not in text and "panel loud" not in text


@pytest.mark.parametrize("slow", [True, False])
def test_rows__judge__as_the_script_does(slow: bool, capsys: pytest.CaptureFixture[str]) -> None:
    fleet()
    if slow:
        gpu(900.0, 6.0)
    list(backend_performance(argparse.Namespace(environment=PRODUCTION)))
    said = capsys.readouterr().out
    found = backends(PRODUCTION, now=clock.now())
    assert [one.name for one in found.each] == list(LOCAL)
    for one in found.each:
        assert (f"Affected: {one.word} (" in said) is one.affected
    assert bool(found.affected) is slow


def test_press__the_affected_backend__is_off_and_the_recovery_is_watched(console: Client, operator: User) -> None:
    fleet()
    gpu(900.0, 6.0)
    answer = console.post(f"{PAGE}/disable", {"backend": "gpu", "reason": "Performance degradation", "words": "slow"})
    assert (answer.status_code, answer["Location"]) == (303, f"{PAGE}#recovery")
    assert Flag.objects.get(environment=PRODUCTION, key="litert_gpu_backend").override_variant == "off"
    assert Flag.objects.get(environment=PRODUCTION, key="litert_enabled").override_variant == ""
    entry = HistoryEntry.objects.get(verb="flag.override_set")
    assert (entry.reason, entry.actor_label) == ("Performance degradation: slow", operator.username)
    run = Run.objects.get()
    assert (run.script, run.environment) == ("watch", PRODUCTION)
    asked = HistoryEntry.objects.get(verb="run.requested")
    assert (asked.cause_id, asked.actor) == (entry.seq, "rule:degradation")
    text = console.get(PAGE).content.decode()
    assert "Off already" in text and "btn danger" not in text  # it is done: nothing is loud any more
    assert "0\u202f% of 4 active devices obey." in text and "The first round is on its way." in text
    # once more: it says so, and watches nothing new
    assert "already off" in console.post(f"{PAGE}/disable", {"backend": "gpu"}, follow=True).content.decode()
    assert Run.objects.count() == 1


def test_press__without_a_reason__is_never_refused(console: Client) -> None:
    console.post(f"{PAGE}/disable", {"backend": "npu"})
    assert HistoryEntry.objects.get(verb="flag.override_set").reason == "Performance degradation"


def test_press__the_cpu__has_no_flag_of_its_own_and_kills(console: Client) -> None:
    console.post(f"{PAGE}/disable", {"backend": "cpu"})
    assert HistoryEntry.objects.get(verb="flag.killed").reason == "Performance degradation"
    assert Flag.objects.get(environment=PRODUCTION, key="ai_fallback_to_cloud").override_variant == "on"
    assert "after CPU was turned off" in console.get(PAGE).content.decode()


def test_press__no_such_backend__changes_nothing(console: Client) -> None:
    said = console.post(f"{PAGE}/disable", {"backend": "tpu"}, follow=True).content.decode()
    assert "There is no backend" in said
    assert not HistoryEntry.objects.filter(verb__startswith="flag.override").exists() and not Run.objects.exists()


def test_recovery__rounds__come_live_with_the_last_ones_lines_and_figures_then_and_now(console: Client) -> None:
    fleet()
    gpu(900.0, 6.0)
    console.post(f"{PAGE}/disable", {"backend": "gpu"})
    run = Run.objects.get()
    words = [
        "— every 10 s: cd '/x' && ./scripts/system-health-check.sh — 03:00:00 UTC",
        "Console: answers",
        "10 of 11 lines pass; failing: Beat",
        "— every 10 s: cd '/x' && ./scripts/system-health-check.sh — 03:00:10 UTC",
        "Beat: 3 s ago",
        "The system is healthy: every line in scope passes (11)",
    ]
    RunOutput.objects.bulk_create(
        RunOutput(run=run, number=number, at=clock.now(), stream="stdout", text=text)
        for number, text in enumerate(words, 1)
    )
    found = rounds(run.lines.all())
    assert [(one.at, one.says) for one in found] == [("03:00:00", words[2]), ("03:00:10", words[5])]
    text = console.get(f"{PAGE}?part=recovery").content.decode()
    assert "System health, every 10 s: 2 rounds" in text
    assert text.index("03:00:10 UTC") < text.index("03:00:00 UTC")
    assert "Beat: 3 s ago" in text and "Console: answers" not in text
    recovery = degradation(PRODUCTION).recovery
    assert recovery is not None and recovery.backend == "gpu"
    assert recovery.before.tokens == pytest.approx(900, rel=0.02)


def test_recovery__watched_again_by_hand(console: Client, viewer: User, client_as: As) -> None:
    console.post(f"{PAGE}/disable", {"backend": "gpu"})
    Run.objects.update(state="failed", finished_at=clock.now())
    assert "Watch again" in console.get(PAGE).content.decode()
    assert "Watch again" not in client_as(viewer).get(PAGE).content.decode()
    console.post(f"{PAGE}/watch")
    assert Run.objects.filter(script="watch").count() == 2


def test_recovery__a_drill__is_none(console: Client) -> None:
    console.post("/production/emergency/disable", {"backend": "gpu", "reason": "Pre-deployment test"})
    assert degradation(PRODUCTION).recovery is None
