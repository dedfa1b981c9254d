"""The audit log: the history verifies from its first entry, a test entry included, and is being written now."""

from datetime import timedelta

from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from hawkops.history.services import change, checkpoint_write, history_verify
from rollout.domain.gates import Finding
from rollout.evidence.shape import Question

VERIFY_AGAIN = timedelta(hours=1)
CHECKPOINT_AGE_MOST = timedelta(hours=1)
LONGEST_SILENCE_SECONDS = 60.0
TEST_VERB = "history.tested"
CHECKER = Actor.rule("evidence")


def audit_logging(asked: Question) -> Finding:
    """Look at the newest verification; every hour, or at once, write a test entry and verify the chain with it."""
    last = history.last_entry_at()  # before the test entry, which would end the silence
    found = history.verification_latest()
    if found is None or asked.at_once or asked.now - found.at > VERIFY_AGAIN:
        with change(actor=CHECKER) as this:
            this.record(TEST_VERB, subject="history:chain", hidden=True)
        checkpoint_write(after=timedelta())
        found = history_verify(requested_by="checklist")
    subject = {"chain": found.head_seq}
    if not found.good:
        sentence = f"The chain breaks at entry {found.bad_seq}: {found.why}."
        return Finding(Verdict.FAIL, sentence, subject, measured_at=found.at)
    silence = (asked.now - last).total_seconds() if last else None
    if silence is None or silence > LONGEST_SILENCE_SECONDS:
        sentence = f"Nothing was written for {silence or 0:.0f} s; the limit is {LONGEST_SILENCE_SECONDS:.0f} s."
        return Finding(Verdict.FAIL, sentence, subject)
    signed = history.checkpoint_latest()
    if signed is None or asked.now - signed.at > CHECKPOINT_AGE_MOST:
        sentence = f"No checkpoint was signed since {signed.at:%d %b %H:%M} UTC." if signed else "None was ever signed."
        return Finding(Verdict.FAIL, sentence, subject)
    test = history.entries(verbs=[TEST_VERB], hidden=True).first()
    if test is None or test.seq > found.head_seq:
        sentence = f"All {found.head_seq} entries verify; the test entry is not among them yet. Check again."
        return Finding(Verdict.INSUFFICIENT, sentence, subject, measured_at=found.at)
    return Finding(
        Verdict.PASS,
        f"All {found.head_seq} entries verify, test entry {test.seq} among them. "
        f"{found.checkpoints} signed checkpoints hold, the last of {signed.at:%H:%M} UTC. {found.limit}",
        subject,
        measured_at=found.at,
    )
