"""The clock of a phase's validation, as it was counted last."""

from datetime import timedelta

from django.db import models

from rollout.models.proposal import PhaseRun


class Validation(models.Model):
    """The validation of one phase: hours of live data since its target percentage. Counted by the sweeper, only read here.

    `since` is from when it counts; None while a critical incident holds it at zero.
    """

    run = models.OneToOneField(PhaseRun, on_delete=models.CASCADE, related_name="validation")
    began_at = models.DateTimeField()
    since = models.DateTimeField(null=True)
    live_seconds = models.IntegerField(default=0)
    last_data_at = models.DateTimeField(null=True)
    counted_at = models.DateTimeField()
    # since when no data comes, as the history says it
    paused_since = models.DateTimeField(null=True)
    # when the hours of data were full
    done_at = models.DateTimeField(null=True)
    # when the scripts of the conclusion became due; later runs of them count
    concluding_at = models.DateTimeField(null=True)
    restarts = models.IntegerField(default=0)
    # the critical incident for which it began anew, or is held
    because = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=300, blank=True)
    # how long the phase had lasted when it began, and when it was done: what lies between is not its maximum's
    lasted_seconds = models.IntegerField(default=0)
    lasted_done_seconds = models.IntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(done_at__isnull=True) | models.Q(since__isnull=False),
                name="rollout_validation_done_has_begun",
            )
        ]

    def __str__(self) -> str:
        return f"validation of {self.run_id}: {self.live} of live data"

    @property
    def live(self) -> timedelta:
        """The live data counted so far."""
        return timedelta(seconds=self.live_seconds)
