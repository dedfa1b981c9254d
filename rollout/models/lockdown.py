"""Security lockdowns: LiteRT is off and nothing is raised until two people have lifted it."""

from django.db import models

from hawkops.scripts.entries.shared import SEVERITIES
from rollout.models.flag import ENVIRONMENTS


class Lockdown(models.Model):
    """One lockdown of an environment: who pressed, who asked to lift it, who confirmed that. Never deleted."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    severity = models.CharField(max_length=10, choices=[(one, one) for one in SEVERITIES], default="high")
    reason = models.CharField(max_length=300, default="Security incident detected")
    by = models.CharField(max_length=150)
    reference = models.CharField(max_length=60)
    at = models.DateTimeField()
    # the entry of the history that began it
    entry = models.BigIntegerField(null=True)
    # who asks to lift it, and why; empty while nobody does
    asked_by = models.CharField(max_length=150, blank=True)
    asked_reference = models.CharField(max_length=60, blank=True)
    asked_at = models.DateTimeField(null=True)
    asked_reason = models.CharField(max_length=300, blank=True)
    lifted_by = models.CharField(max_length=150, blank=True)
    lifted_reference = models.CharField(max_length=60, blank=True)
    lifted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # whoever presses second finds the first one standing
            models.UniqueConstraint(
                fields=["environment"], condition=models.Q(lifted_at=None), name="rollout_one_lockdown_stands"
            ),
            models.CheckConstraint(condition=models.Q(severity__in=SEVERITIES), name="rollout_lockdown_severity"),
            # nobody lifts what nobody asked to lift
            models.CheckConstraint(
                condition=models.Q(lifted_at=None) | models.Q(asked_at__isnull=False), name="rollout_lockdown_asked"
            ),
        ]

    def __str__(self) -> str:
        return f"lockdown of {self.environment} since {self.at:%Y-%m-%d %H:%M}"

    @property
    def subject(self) -> str:
        """What the history calls it."""
        return f"lockdown:{self.pk}"

    @property
    def stands(self) -> bool:
        """Whether it still freezes raises."""
        return self.lifted_at is None

    def document(self) -> dict[str, object]:
        """Return it as the history keeps it."""
        return {
            "severity": self.severity,
            "reason": self.reason,
            **({"asked_by": self.asked_reference, "asked_reason": self.asked_reason} if self.asked_at else {}),
            **({"lifted_by": self.lifted_reference} if self.lifted_at else {}),
        }
