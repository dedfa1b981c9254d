"""Criteria as the database holds them: the file seeds, the database rules. Versions stand in the change history."""

from django.db import models


class Seeded(models.Model):
    """`document` is what rules, `seed` what the threshold file said when it was last imported."""

    key = models.CharField(max_length=60, unique=True)
    document = models.JSONField()
    seed = models.JSONField(null=True)
    revision = models.IntegerField(default=1)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=120)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.key

    @property
    def drifted(self) -> bool:
        """Whether it differs from the threshold file (or stands in none)."""
        return bool(self.document != self.seed)


class StoredCriterion(Seeded):
    """One criterion."""

    purpose = models.CharField(max_length=20)

    class Meta:
        ordering = ["purpose", "pk"]


class StoredProfile(Seeded):
    """The floors of some device classes."""

    class Meta:
        ordering = ["pk"]


class StoredSection(Seeded):
    """Numbers of the runbook that are no criteria: paces of health checks, times of the severity matrix, rules."""

    class Meta:
        ordering = ["pk"]
