"""What a box of the checklist says: evidence, a person's word, and the subject it speaks of, put together."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hawkops.core.verdicts import Verdict

# Evidence older than this no longer covers its subject.
EVIDENCE_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class Finding:
    """What a check found: verdict, sentence with its numbers, and the subject it speaks of.

    `synthetic` marks results of the generated model, of this host, or of simulated devices.
    """

    verdict: Verdict
    sentence: str
    subject: dict[str, Any]
    synthetic: bool = False


@dataclass(frozen=True)
class Word:
    """A person's attestation."""

    ticked: bool
    by: str
    at: datetime
    note: str
    link: str


@dataclass(frozen=True)
class Standing:
    """Where a box stands: verdict, why, and who or what made it so."""

    verdict: Verdict
    sentence: str
    source: str


def right_subject(finding: Finding, environment: str) -> Finding:
    """Refuse evidence about the wrong subject: a synthetic result never ticks a box outside `demo`."""
    if not finding.synthetic or environment == "demo" or finding.verdict is Verdict.NO_DATA:
        return finding
    host = finding.subject.get("host", "this host")
    sentence = (
        f"Wrong subject: {finding.subject.get('model', 'synthetic model')}, {host}. It says nothing of {environment}."
    )
    return Finding(Verdict.NO_DATA, sentence, finding.subject, synthetic=True)


def standing(
    *,
    automatic: bool,
    comes_with: str,
    evidence: tuple[Finding, datetime] | None,
    word: Word | None,
    subject: dict[str, Any],
    now: datetime,
) -> Standing:
    """Put evidence and a person's word together.

    A box with a working check ticks itself and nothing else does; the others stand on a person's word until their
    check comes. Evidence that no longer covers the subject, or is too old, is STALE.
    """
    if automatic:
        if evidence is None:
            return Standing(Verdict.NO_DATA, "Not checked yet.", "automatic")
        finding, at = evidence
        if changed := _changed(finding.subject, subject):
            return Standing(Verdict.STALE, f"The evidence covers another {changed}. {finding.sentence}", "automatic")
        if now - at > EVIDENCE_LIFETIME and finding.verdict is Verdict.PASS:
            return Standing(Verdict.STALE, f"The evidence is older than 24 h. {finding.sentence}", "automatic")
        return Standing(finding.verdict, finding.sentence, "automatic")
    if word is not None and word.ticked:
        note = f": {word.note}" if word.note else ""
        return Standing(Verdict.PASS, f"{word.by} answers for it{note}", "person")
    return Standing(Verdict.NO_DATA, f"Its check comes with {comes_with}; until then a person answers.", "person")


def _changed(covered: dict[str, Any], subject: dict[str, Any]) -> str:
    """Return the first named part of the subject that the evidence does not cover; empty when it covers all it names."""
    names = {"model_digest": "model", "app_version": "app version"}
    for name, title in names.items():
        if covered.get(name) and subject.get(name) and covered[name] != subject[name]:
            return title
    return ""
