"""Guardrails as they stand on a phase, and what they were read from; what each said when it changed is in the history."""

from django.db import models

from rollout.models.proposal import PhaseRun


class GuardrailState(models.Model):
    """The newest finding of one guardrail of a phase."""

    run = models.ForeignKey(PhaseRun, on_delete=models.CASCADE, related_name="guardrails")
    key = models.CharField(max_length=60)
    verdict = models.CharField(max_length=20)
    sentence = models.TextField()
    # every band of ages and device class, as `guardrails.Line`
    lines = models.JSONField(default=list)
    # how many devices of the treatment there are, how many settle it, and how many come in an hour
    progress = models.JSONField(null=True)
    # of a failed one: the smallest exclusion of cohorts that restores it, as `cohorts.Exclusion` in short
    exclusion = models.JSONField(null=True)
    looked_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    # when it rolled back, or would have acted: then `would` says what it would have done
    acted_at = models.DateTimeField(null=True)
    would = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="rollout_guardrail_once")]

    def __str__(self) -> str:
        return f"{self.key} of {self.run}: {self.verdict}"

    @property
    def did_act(self) -> bool:
        """Whether it rolled back in this phase; what it only would have done is nothing."""
        return self.acted_at is not None and not self.would


class GuardrailBand(models.Model):
    """What devices that came with one step measured in a band of ages that is over, so that the panel is read once for it.

    A month of a whole panel is tens of millions of rows; `sums` is one JSON text: device → `metric backend outcome` →
    (total, count). Derived, and read anew where `metrics` lacks one that is asked for.
    """

    run = models.ForeignKey(PhaseRun, on_delete=models.CASCADE, related_name="bands")
    # the hour since 1970 with which the devices' stay began
    first = models.BigIntegerField()
    band = models.SmallIntegerField()
    metrics = models.JSONField()
    sums = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "first", "band"], name="rollout_guardrail_band_once")]

    def __str__(self) -> str:
        return f"band {self.band} from hour {self.first} of {self.run}"
