"""Stored telemetry: series, append-only partial rows of ten seconds, and digests of recent payloads."""

from django.db import models


class Series(models.Model):
    """One combination of the closed list of dimensions."""

    environment = models.CharField(max_length=20)
    metric = models.CharField(max_length=80)
    backend_requested = models.CharField(max_length=10, blank=True)
    backend_actual = models.CharField(max_length=10, blank=True)
    device_class = models.CharField(max_length=80, blank=True)
    app_version = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=80, blank=True)
    variant = models.CharField(max_length=40, blank=True)
    outcome = models.CharField(max_length=40, blank=True)
    simulated = models.BooleanField(default=False)

    class Meta:
        constraints = [
            # also finds all series of a metric in an environment
            models.UniqueConstraint(
                fields=[
                    "environment",
                    "metric",
                    "backend_requested",
                    "backend_actual",
                    "device_class",
                    "app_version",
                    "model",
                    "variant",
                    "outcome",
                    "simulated",
                ],
                name="monitoring_series_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.metric} {self.backend_actual}"


class RollupPartial(models.Model):
    """Observations of one series in one bucket of ten seconds, as one process saw them. Merged on read, never updated."""

    series = models.ForeignKey(Series, on_delete=models.PROTECT)
    bucket_at = models.DateTimeField()
    count = models.BigIntegerField()
    total = models.FloatField()
    squares = models.FloatField()
    low = models.FloatField()
    high = models.FloatField()
    buckets = models.BinaryField()

    class Meta:
        indexes = [
            # a window of some series, in order of time
            models.Index(fields=["series", "bucket_at"], name="monitoring_partial_window"),
            # the age of the newest data, and dropping the oldest
            models.Index(fields=["bucket_at"], name="monitoring_partial_age"),
        ]

    def __str__(self) -> str:
        return f"{self.series_id} {self.bucket_at:%H:%M:%S} n={self.count}"


class PayloadDigest(models.Model):
    """A payload counted within the last hour: sent again, it is acknowledged and not counted twice."""

    digest = models.BinaryField(max_length=32, primary_key=True)
    seen_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return bytes(self.digest).hex()[:12]
