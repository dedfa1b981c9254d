"""Boxes and the policy's lines say why: what they stand on, their formula, and what would change them."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hawkops.core.verdicts import Verdict
from rollout.domain.gates import Basis, Standing
from rollout.domain.needs import LINES
from rollout.domain.policy import Need
from rollout.domain.reasons import box_why
from rollout.domain.runbook import Box
from rollout.runbook import loading
from tests.rollout.walking import begin, furnish

AT = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)


def box(key: str) -> Box:
    found = loading.load().runbook.box(key)
    assert found is not None
    return found[1]


def stands(verdict: Verdict, **known: Any) -> Standing:
    basis = Basis.NOTHING if verdict is Verdict.NO_DATA else Basis.EVIDENCE
    return Standing(verdict, "Seen.", basis, **known)


def turns(key: str, standing: Standing, **known: Any) -> str:
    given: dict[str, Any] = {"subject": {}, "lines": [], "measured_in": "staging", **known}
    return " ".join(box_why(box(key), standing, **given).turns)


def test_box_why__a_pass__says_until_when_and_what_makes_it_stale_at_once() -> None:
    found = stands(Verdict.PASS, at=AT, expires_at=AT + timedelta(days=7))
    subject = {"model_digest": "sha256:ab", "programs": {"x.sh": "1"}}
    assert turns("backends_tested", found, subject=subject) == (
        "It is STALE from 07 Dec, 14:00 UTC on, unless it is seen again before. "
        "It is STALE at once when this changes: the release's model, a program that ran."
    )


def test_box_why__not_run_failed_by_hand_or_waived__says_who_or_what_brings_it() -> None:
    assert turns("memory_limit", stands(Verdict.NO_DATA)).endswith("run_litert_performance_tests.sh in staging.")
    lines = [
        {"title": "CPU", "verdict": "PASS"},
        {"title": "GPU", "verdict": "FAIL"},
        {"title": "NPU", "verdict": None},
    ]
    assert "It takes that these lines pass: GPU." in turns("backends_tested", stands(Verdict.FAIL), lines=lines)
    by_hand = replace(box("alert_endpoints"), by="", comes_with="the pager's contract")
    given: dict[str, Any] = {"subject": {}, "lines": [], "measured_in": "staging"}
    (first, *_) = box_why(by_hand, stands(Verdict.NO_DATA), **given).turns
    assert first.startswith("A person with the role releaser ticks it")
    assert "uploads" in turns("security_scan", stands(Verdict.NO_DATA))
    waived = turns("memory_limit", stands(Verdict.FAIL), waived_until=AT)
    assert waived.startswith("It is waived until 30 Nov, 14:00 UTC; then it blocks again")
    assert turns("memory_limit", stands(Verdict.NO_DATA, in_scope=False)) == (
        "It counts as soon as a device has what it judges."
    )


@pytest.mark.parametrize("verdict", list(Verdict))
def test_box_why__every_box_and_verdict__has_formula_and_something_that_turns_it(verdict: Verdict) -> None:
    for _group, one in loading.load().runbook.boxes():
        found = box_why(
            one, stands(verdict, at=AT, expires_at=AT), subject={}, lines=[], measured_in="demo", waived_until=None
        )
        assert one.means in found.formula
        assert found.turns, one.key


def test_needs__every_line_that_the_code_makes__is_explained() -> None:
    made = set()
    for path in Path("rollout").rglob("*.py"):
        made |= set(re.findall(r'\bNeed\(\s*"([a-z]+)"', path.read_text()))
    made |= {"validation", "compliance", "conclusion"}
    assert made == set(LINES)
    assert Need("time", "Time", False, "7 d to go.", "1 of 7 d").why.turns == (
        "Time alone brings it; a pause stops it.",
    )
    assert Need("time", "Time", True, "Over.").why.turns == ()


@pytest.mark.django_db
def test_pages_and_api__boxes_and_needs_carry_their_why(client_as: Any, viewer: Any) -> None:
    furnish()
    release = begin("demo")
    client = client_as(viewer)
    page = client.get(f"/demo/releases/{release.pk}/checklist").content.decode()
    assert 'id="why-box-backends_tested"' in page
    assert "style=" not in page
    page = client.get(f"/demo/releases/{release.pk}").content.decode()
    assert 'id="why-need-gates"' in page
    lines = client.get("/api/v1/demo/may-advance").json()["lines"]
    assert all(one["why"]["formula"] for one in lines)
    assert all(one["why"]["turns"] for one in lines if one["verdict"] != "PASS")
