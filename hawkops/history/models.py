"""Tables of the history. The database itself refuses to alter an entry (see the initial migration)."""

import json
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from hawkops.history.domain import chain

HEARTBEAT = "history.heartbeat"


class HistoryEntry(models.Model):
    """One change. `before_text` and `after_text` hold canonical JSON exactly as hashed."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    environment = models.CharField(max_length=20, blank=True)
    actor = models.CharField(max_length=80)
    verb = models.CharField(max_length=60)
    subject = models.CharField(max_length=200)
    before_text = models.TextField(null=True)
    after_text = models.TextField(null=True)
    reason = models.TextField(blank=True)
    request_id = models.CharField(max_length=40, blank=True)
    cause = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="effects", db_index=False)
    hidden = models.BooleanField(default=False)
    commitment = models.CharField(max_length=64, blank=True)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-seq"]
        constraints = [models.UniqueConstraint(fields=["previous_hash"], name="history_one_successor")]
        indexes = [
            # the history page: newest first in one environment, heartbeats left out
            models.Index(
                fields=["environment", "-seq"], name="history_environment_seq", condition=models.Q(hidden=False)
            ),
            # markers on charts, drills, "who did this": by verb and time
            models.Index(fields=["verb", "-at"], name="history_verb_at"),
            # everything that happened to one subject
            models.Index(fields=["subject", "-seq"], name="history_subject_seq"),
            models.Index(fields=["actor", "-seq"], name="history_actor_seq"),
            models.Index(fields=["-at"], name="history_at"),
            # what an entry led to
            models.Index(fields=["cause", "seq"], name="history_cause_seq", condition=models.Q(cause__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.verb} {self.subject}"

    @property
    def before(self) -> Any:
        """The state before, or None."""
        return None if self.before_text is None else json.loads(self.before_text)

    @property
    def after(self) -> Any:
        """The state after, or None."""
        return None if self.after_text is None else json.loads(self.after_text)

    @property
    def actor_label(self) -> str:
        """The actor's name as far as it has not been erased (costs a query unless prefetched)."""
        personal = getattr(self, "personal", None)
        kind, _, name = self.actor.partition(":")
        return personal.label if personal else name if name and kind != "person" else self.actor

    def row(self) -> chain.Row:
        """The part that is hashed."""
        return chain.Row(
            seq=self.seq,
            at=self.at,
            environment=self.environment,
            actor=self.actor,
            verb=self.verb,
            subject=self.subject,
            before=self.before_text,
            after=self.after_text,
            reason=self.reason,
            request_id=self.request_id,
            cause=self.cause_id,
            hidden=self.hidden,
            commitment=self.commitment,
        )


class Personal(models.Model):
    """Personal values of an entry, apart from the chain: erasing this row keeps the proof."""

    entry = models.OneToOneField(HistoryEntry, primary_key=True, on_delete=models.PROTECT, related_name="personal")
    salt = models.BinaryField(max_length=16)
    label = models.CharField(max_length=150)

    class Meta:
        # whether a name still stands anywhere
        indexes = [models.Index(fields=["label"], name="history_personal_label")]

    def __str__(self) -> str:
        return f"{self.entry_id} {self.label}"


class ActorName(models.Model):
    """A name that an actor went by, kept by the database beside `Personal`: gone with the last entry that has it."""

    pk = models.CompositePrimaryKey("label", "actor")
    label = models.CharField(max_length=150)
    actor = models.CharField(max_length=80)

    def __str__(self) -> str:
        return f"{self.label} {self.actor}"


class Head(models.Model):
    """The end of the chain; appending locks this one row until commit."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default=chain.GENESIS)
    at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="history_one_head")]

    def __str__(self) -> str:
        return f"{self.seq} {self.hash[:12]}"


class Checkpoint(models.Model):
    """A signed root over the first `size` entries' hashes. `nodes` are the tree's perfect subtrees, to go on from here.

    The database refuses to alter one, as it does with entries.
    """

    size = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    note = models.TextField()
    nodes = ArrayField(models.CharField(max_length=64))

    class Meta:
        ordering = ["-size"]

    def __str__(self) -> str:
        return f"{self.size} {self.at:%Y-%m-%d %H:%M}"


class Verification(models.Model):
    """A run of the verifier: what it covered and what it found."""

    at = models.DateTimeField()
    head_seq = models.BigIntegerField()
    head_hash = models.CharField(max_length=64)
    seconds = models.FloatField()
    bad_seq = models.BigIntegerField(null=True)
    why = models.TextField(blank=True)
    longest_gap_seconds = models.FloatField(null=True)
    requested_by = models.CharField(max_length=150)
    checkpoints = models.IntegerField(db_default=0, default=0)
    checkpoint_size = models.BigIntegerField(null=True)
    # up to here a copy outside the database says the same; None without a witness
    witnessed_seq = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["-at"], name="history_verification_at")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {'bad' if self.bad_seq else 'good'}"

    @property
    def good(self) -> bool:
        """Whether every entry up to the head follows from the one before it, as it was signed and witnessed."""
        return self.bad_seq is None

    @property
    def limit(self) -> str:
        """Up to where somebody outside the database vouches, in words."""
        if not self.good:
            return ""
        if self.witnessed_seq is None:
            return "No witness outside the database has seen it: who rules the database could have rewritten it whole."
        if self.witnessed_seq >= self.head_seq:
            return "All of it stands as it was witnessed outside the database."
        return (
            f"Entries up to {self.witnessed_seq} stand as they were witnessed outside the database; "
            f"those after it, not yet witnessed, stand on the chain alone."
        )
