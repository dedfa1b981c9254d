"""Changes that wait for somebody else's yes, the times in which nothing is raised, and phases under way."""

from django.db import models

from rollout.models.flag import ENVIRONMENTS
from rollout.models.release import Release


class Proposal(models.Model):
    """A change that needs approval: what it would do, who made it, and what became of it.

    `kind` names what carries it out with `payload`; `makers` are the references of all who made or edited it.
    """

    STATES = ("open", "applied", "withdrawn")

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=120)
    title = models.CharField(max_length=200)
    payload = models.JSONField()
    # what that changes, as it stood when it was proposed: name, before and after, to be compared by people
    changes = models.JSONField(default=list)
    reason = models.CharField(max_length=300)
    made_by = models.CharField(max_length=150)
    makers = models.JSONField(default=list)
    made_at = models.DateTimeField()
    edited_at = models.DateTimeField(null=True)
    edition = models.IntegerField(default=1)
    state = models.CharField(max_length=10, default="open", choices=[(one, one) for one in STATES])
    # when it is to happen by itself; None for as soon as somebody presses
    scheduled_at = models.DateTimeField(null=True)
    # why it could not happen when it was tried last
    refusal = models.TextField(blank=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["open", "applied", "withdrawn"]), name="rollout_proposal_state"
            )
        ]

    def __str__(self) -> str:
        return self.title


class Approval(models.Model):
    """Somebody's yes to one edition of a proposal, with the evidence as it stood then. An edit lets it fall."""

    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="approvals")
    reference = models.CharField(max_length=60)
    by = models.CharField(max_length=150)
    teams = models.JSONField(default=list)
    edition = models.IntegerField()
    at = models.DateTimeField()
    # the lines of the policy and the subject of the evidence when it was given
    seen = models.JSONField(default=dict)
    fell_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["proposal", "reference", "edition"], name="rollout_approval_once")
        ]

    def __str__(self) -> str:
        return f"{self.by} to {self.proposal_id}"


class FreezeWindow(models.Model):
    """A time in which nothing is raised in an environment."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=300)
    by = models.CharField(max_length=150)
    made_at = models.DateTimeField()

    class Meta:
        ordering = ["starts_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(ends_at__gte=models.F("starts_at")), name="rollout_freeze_ends")
        ]

    def __str__(self) -> str:
        return f"{self.environment} frozen until {self.ends_at:%Y-%m-%d %H:%M}"


class PhaseRun(models.Model):
    """One phase of a release under way or ended. `percents` are its steps in order, `step` counts those that were done."""

    STATES = ("running", "paused", "passed", "aborted")

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="phase_runs")
    number = models.SmallIntegerField()
    state = models.CharField(max_length=10, default="running", choices=[(one, one) for one in STATES])
    percents = models.JSONField()
    step = models.SmallIntegerField(default=0)
    interval_seconds = models.IntegerField(default=0)
    started_at = models.DateTimeField()
    started_by = models.CharField(max_length=150)
    # when the next step is due; None after the last one
    next_at = models.DateTimeField(null=True)
    reached_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    paused_seconds = models.IntegerField(default=0)
    ended_at = models.DateTimeField(null=True)
    # why the step that is due has not been done
    held = models.TextField(blank=True)
    # every step as it was done: when, and the share of the audience in buckets; and the device classes that guardrails
    # look at one by one, settled by the first look
    served = models.JSONField(default=list)
    classes = models.JSONField(null=True)
    # the revision of the flag as the plan left it: another one means that somebody changed it by hand
    flag_revision = models.BigIntegerField(default=0)
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["release"],
                condition=models.Q(state__in=["running", "paused"]),
                name="rollout_one_phase_under_way",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["running", "paused", "passed", "aborted"]), name="rollout_phase_state"
            ),
        ]

    def __str__(self) -> str:
        return f"phase {self.number} of {self.release_id}"

    @property
    def percent(self) -> float:
        """The percentage of its audience that the last step set."""
        return float(self.percents[self.step - 1]) if self.step else 0.0


class ReleaseComment(models.Model):
    """What somebody said about a release."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="comments")
    by = models.CharField(max_length=150)
    at = models.DateTimeField()
    text = models.CharField(max_length=2_000)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.by} on {self.release_id}"


class Waiver(models.Model):
    """A box that may stay open for a while: who answers for it, why, and until when. Never silent, never for ever."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="waivers")
    box = models.CharField(max_length=60)
    reason = models.CharField(max_length=300)
    owner = models.CharField(max_length=150)
    by = models.CharField(max_length=300)
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["release", "box"], name="rollout_waiver_once")]

    def __str__(self) -> str:
        return f"{self.box} waived until {self.expires_at:%Y-%m-%d}"
