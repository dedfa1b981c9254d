"""What was done to the steps of a release's deployment procedure. Runs speak for themselves and are only named here."""

from django.db import models

from hawkops.scripts.models import Run
from rollout.domain.procedure import Mark
from rollout.models.release import Release


class ReleaseStep(models.Model):
    """One step of one release: its newest run, or what people did. A step nobody touched has no row."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="steps")
    step = models.CharField(max_length=60)
    mark = models.CharField(max_length=10, blank=True, choices=[(m.value, m.value) for m in Mark], default="")
    # the newest run, a dry one included: it is the evidence, so it can't go before the release does
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    sentence = models.CharField(max_length=1_000, blank=True)
    # the settings a person confirmed, with their digest; the revision at which switches were pressed
    details = models.JSONField(default=dict)
    by = models.CharField(max_length=150, blank=True)
    at = models.DateTimeField(null=True)
    skip_reason = models.CharField(max_length=500, blank=True)
    skip_asked_by = models.CharField(max_length=150, blank=True)
    # `person:7`: who may not be the second person, whatever they are called by then
    skip_asked_reference = models.CharField(max_length=80, blank=True)
    skip_asked_at = models.DateTimeField(null=True)
    skip_approved_by = models.CharField(max_length=150, blank=True)
    skip_approved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["release", "step"], name="rollout_step_once"),
            models.CheckConstraint(
                condition=~models.Q(mark=Mark.SKIPPED.value) | ~models.Q(skip_reason=""),
                name="rollout_step_skipped_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.release_id} {self.step} {self.mark}"
