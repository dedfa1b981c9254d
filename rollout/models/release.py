"""Releases on their walk through the runbook: evidence, and people's words."""

from django.db import models

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from rollout.models.runbook import RunbookVersion


class Release(models.Model):
    """An app version with its models, walking through the runbook in one environment."""

    environment = models.CharField(max_length=20, choices=[(e.value, e.value) for e in Environment])
    name = models.CharField(max_length=80)
    app_version = models.CharField(max_length=40)
    version_code = models.BigIntegerField(default=0)
    model_name = models.CharField(max_length=80, blank=True)
    model_digest = models.CharField(max_length=80, blank=True)
    backends = models.JSONField(default=list)
    runbook = models.ForeignKey(RunbookVersion, on_delete=models.PROTECT)
    running = models.BooleanField(default=True)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment"], condition=models.Q(running=True), name="rollout_one_running_release"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.app_version} in {self.environment}"

    @property
    def subject(self) -> dict[str, object]:
        """What evidence must cover."""
        return {"model_digest": self.model_digest, "app_version": self.app_version, "backends": list(self.backends)}


class Evidence(models.Model):
    """What the check of one box found last. `since` is when its verdict became what it is; the history has the rest."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="evidence")
    box = models.CharField(max_length=60)
    verdict = models.CharField(max_length=12, choices=[(v.value, v.value) for v in Verdict])
    sentence = models.TextField()
    subject = models.JSONField(default=dict)
    synthetic = models.BooleanField(default=False)
    lines = models.JSONField(default=list)
    source = models.CharField(max_length=60, blank=True)
    measured_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField()
    since = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["release", "box"], name="rollout_evidence_once")]

    def __str__(self) -> str:
        return f"{self.box} {self.verdict}"


class Attestation(models.Model):
    """A person's word on one box, the newest one counting."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="attestations")
    box = models.CharField(max_length=60)
    ticked = models.BooleanField()
    by = models.CharField(max_length=150)
    at = models.DateTimeField()
    note = models.CharField(max_length=500, blank=True)
    link = models.URLField(max_length=500, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["release", "box"], name="rollout_attestation_once")]

    def __str__(self) -> str:
        return f"{self.box} {'ticked' if self.ticked else 'unticked'} by {self.by}"
