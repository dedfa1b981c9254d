"""A/B tests: what is compared on which flag, and which device was exposed to which arm."""

from django.db import models

from rollout.domain import experiments as domain
from rollout.models.flag import ENVIRONMENTS


class Experiment(models.Model):
    """An A/B test of one flag. While it runs the flag's row holds the same arms, for that is what gateways read."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    key = models.CharField(max_length=60)
    title = models.CharField(max_length=120)
    hypothesis = models.TextField(blank=True)
    flag = models.CharField(max_length=80)
    salt = models.CharField(max_length=80)
    # in order, as `experiments.Arm.document`; the others are compared with the first
    arms = models.JSONField()
    started_at = models.DateTimeField()
    started_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True)
    conclusion = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "key"], name="rollout_experiment_once"),
            models.UniqueConstraint(
                fields=["environment", "flag"], condition=models.Q(ended_at=None), name="rollout_experiment_alone"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.key}"

    def domain(self) -> domain.Experiment:
        """The test as evaluation sees it."""
        found = domain.experiment({"key": self.key, "salt": self.salt, "arms": self.arms})
        assert found is not None
        return found


class Exposure(models.Model):
    """A device that was told an arm, since when; written by gateways, once for each device and test."""

    environment = models.CharField(max_length=20)
    experiment = models.CharField(max_length=60)
    device_id = models.CharField(max_length=200)
    arm = models.CharField(max_length=40)
    simulated = models.BooleanField(default=False)
    first_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "experiment", "device_id"], name="rollout_exposure_once"),
        ]
        indexes = [
            # erases a device
            models.Index(fields=["environment", "device_id"], name="rollout_exposure_device"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.experiment} {self.device_id}"
