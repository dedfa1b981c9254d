"""Where a box stands: evidence or a person, the right subject, and how long either speaks."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hawkops.core.verdicts import Verdict
from rollout.domain.gates import (
    Basis,
    Evidence,
    Finding,
    Subject,
    Tick,
    amount,
    headline,
    measured,
    rightful,
    stand,
    together,
    wrong_subject,
)
from rollout.domain.runbook import Box, Kind, Limit

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AUTOMATIC = Box("memory", "Memory", "means", Kind.CRITERION, "memory_limit", "", timedelta(hours=24))
BY_HAND = replace(AUTOMATIC, by="", comes_with="the security scripts")
PRODUCTION = Subject("production", "sha256:" + "ab" * 32, 7)
DEMO = replace(PRODUCTION, environment="demo")
REAL = {"model_digest": PRODUCTION.model_digest, "target": "device"}
SYNTHETIC = {"model_digest": PRODUCTION.model_digest, "synthetic": True, "target": "host", "host": "linux x86_64"}


def evidence(verdict: Verdict = Verdict.PASS, subject: Mapping[str, object] = REAL, hours: float = 1) -> Evidence:
    at = NOW - timedelta(hours=hours)
    return Evidence(verdict, "86 MB.", subject, at, at + AUTOMATIC.valid_for)


def test_stand__fresh_evidence_of_the_right_subject__is_its_verdict() -> None:
    for verdict in Verdict:
        found = stand(AUTOMATIC, evidence=evidence(verdict), tick=None, subject=PRODUCTION, now=NOW)
        assert (found.verdict, found.basis) == (verdict, Basis.EVIDENCE)
        assert found.passes is (verdict is Verdict.PASS)


@pytest.mark.parametrize("environment", ["production", "staging"])
@pytest.mark.parametrize(
    "subject,words",
    [
        (SYNTHETIC, "synthetic model, x86 host"),
        ({**REAL, "synthetic": True}, "synthetic model"),
        ({**REAL, "target": "host", "host": "linux aarch64"}, "ARM host"),
        ({**REAL, "emulated": True}, "software-emulated GPU"),
        ({"simulated": True}, "simulated devices"),
        ({"simulated": True, "simulated_what": "simulated cloud"}, "simulated cloud"),
    ],
)
def test_stand__wrong_subject__is_no_data_outside_demo_whatever_was_found(
    environment: str, subject: dict[str, object], words: str
) -> None:
    release = replace(PRODUCTION, environment=environment)
    for verdict in Verdict:
        found = stand(AUTOMATIC, evidence=evidence(verdict, subject), tick=None, subject=release, now=NOW)
        assert found.verdict is Verdict.NO_DATA
        kept = rightful(Finding(verdict, "86 MB.", subject), environment)
        assert kept.verdict is Verdict.NO_DATA
        if verdict is not Verdict.NO_DATA:
            assert found.sentence == kept.sentence == f"Wrong subject: {words}. 86 MB."
    assert wrong_subject(subject, "demo") == ""


def test_stand__synthetic_in_demo__ticks_and_is_marked() -> None:
    found = stand(AUTOMATIC, evidence=evidence(subject=SYNTHETIC), tick=None, subject=DEMO, now=NOW)
    assert (found.verdict, found.synthetic) == (Verdict.PASS, True)


def test_stand__evidence_of_another_model__is_stale_and_names_both() -> None:
    other = {**REAL, "model_digest": "sha256:" + "cd" * 32}
    found = stand(AUTOMATIC, evidence=evidence(subject=other), tick=None, subject=PRODUCTION, now=NOW)
    assert found.verdict is Verdict.STALE
    assert "It covered model cdcdcdcd, the release has abababab" in found.sentence


def test_stand__flags_moved_since__is_stale() -> None:
    found = stand(AUTOMATIC, evidence=evidence(subject={"flag_revision": 6}), tick=None, subject=PRODUCTION, now=NOW)
    assert found.verdict is Verdict.STALE
    assert "flag revision 6, the flags are at 7" in found.sentence


def test_stand__evidence_at_the_end_of_its_span__is_stale() -> None:
    just = evidence(hours=23.999)
    assert stand(AUTOMATIC, evidence=just, tick=None, subject=PRODUCTION, now=NOW).verdict is Verdict.PASS
    for verdict in (Verdict.PASS, Verdict.FAIL):
        old = stand(AUTOMATIC, evidence=evidence(verdict, hours=24), tick=None, subject=PRODUCTION, now=NOW)
        assert old.verdict is Verdict.STALE
        assert old.sentence == "Good for 24 h, and older than that. 86 MB."


def test_stand__automatic_box__hears_no_person() -> None:
    tick = Tick(True, "releaser", NOW, "I looked")
    assert stand(AUTOMATIC, evidence=None, tick=tick, subject=DEMO, now=NOW).verdict is Verdict.NO_DATA
    failed = stand(AUTOMATIC, evidence=evidence(Verdict.FAIL), tick=tick, subject=PRODUCTION, now=NOW)
    assert failed.verdict is Verdict.FAIL


def test_stand__box_by_hand__passes_by_attestation_until_its_span_ends() -> None:
    nothing = stand(BY_HAND, evidence=None, tick=None, subject=PRODUCTION, now=NOW)
    assert nothing.verdict is Verdict.NO_DATA
    assert nothing.sentence == "Comes with the security scripts; until then a person ticks it."
    ticked = stand(BY_HAND, evidence=None, tick=Tick(True, "releaser", NOW, "seen"), subject=PRODUCTION, now=NOW)
    assert (ticked.verdict, ticked.basis, ticked.sentence) == (
        Verdict.PASS,
        Basis.ATTESTATION,
        "Attested by releaser: seen",
    )
    later = NOW + timedelta(hours=24)
    old = stand(BY_HAND, evidence=None, tick=Tick(True, "releaser", NOW, "seen"), subject=PRODUCTION, now=later)
    assert old.verdict is Verdict.STALE
    gone = stand(BY_HAND, evidence=None, tick=Tick(False, "releaser", NOW, "wrong"), subject=PRODUCTION, now=NOW)
    assert (gone.verdict, gone.sentence.startswith("Unticked by releaser: wrong.")) == (Verdict.NO_DATA, True)


@pytest.mark.parametrize(
    "value,limit,unit,verdict,sentence",
    [
        (243.0, Limit(at_least=243), "{token}/s", Verdict.PASS, "243 tok/s, wanted ≥ 243 tok/s"),
        (242.9, Limit(at_least=243), "{token}/s", Verdict.FAIL, "242 tok/s, wanted ≥ 243 tok/s"),
        (1.999e9, Limit(below=2e9), "By", Verdict.PASS, "1\u202f999 MB, wanted < 2\u202f000 MB"),
        (2e9, Limit(below=2e9), "By", Verdict.FAIL, "2\u202f000 MB, wanted < 2\u202f000 MB"),
        (0.5, Limit(below=0.5), "s", Verdict.FAIL, "500 ms, wanted < 500 ms"),
        (1.25, Limit(below=2), "s", Verdict.PASS, "1.25 s, wanted < 2 s"),
        (3.0, Limit(), "s", Verdict.PASS, "3 s"),
    ],
)
def test_measured__at_and_beside_its_limit(
    value: float, limit: Limit, unit: str, verdict: Verdict, sentence: str
) -> None:
    line = measured("x", value, limit, unit=unit)
    assert (line.verdict, line.sentence) == (verdict, sentence)


def test_measured__nothing__is_a_lack_or_a_failure_never_a_pass() -> None:
    assert measured("GPU", None, Limit(), unit="", lack="no GPU").verdict is Verdict.NO_DATA
    assert measured("GPU", None, Limit(), unit="", failed=True).verdict is Verdict.FAIL
    assert together([]) is Verdict.NO_DATA


def test_amount__small_and_large__are_readable() -> None:
    assert [amount(v, "s") for v in (0.0164, 0.5, 1.0, 2.0, 10.0)] == ["17 ms", "500 ms", "1 s", "2 s", "10 s"]


def test_headline__counts_in_words() -> None:
    assert headline({Verdict.PASS: 22}) == "All 22 pass"
    counts = {Verdict.PASS: 7, Verdict.FAIL: 1, Verdict.NO_DATA: 9, Verdict.STALE: 5}
    assert headline(counts) == "7 of 22 pass; 1 fails, 5 are stale, 9 have no data"
