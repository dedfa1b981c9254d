"""Stored telemetry: series, append-only partial rows, who reported in which hour, and digests of recent payloads."""

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
    """Observations of one series in one bucket of time, as one process saw them. Merged on read, never updated.

    The door writes buckets of ten seconds; compaction replaces old ones by wider ones.
    """

    series = models.ForeignKey(Series, on_delete=models.PROTECT)
    bucket_at = models.DateTimeField()
    width_seconds = models.SmallIntegerField()
    count = models.BigIntegerField()
    total = models.FloatField()
    squares = models.FloatField()
    low = models.FloatField()
    high = models.FloatField()
    buckets = models.BinaryField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(width_seconds__in=(10, 60, 600, 3600)), name="monitoring_partial_width"
            ),
            models.CheckConstraint(
                condition=models.Q(count__gt=0, low__lte=models.F("high")), name="monitoring_partial_holds_something"
            ),
        ]
        indexes = [
            # a window of some series, in order of time
            models.Index(fields=["series", "bucket_at"], name="monitoring_partial_window"),
            # what is old enough to be compacted or dropped
            models.Index(fields=["width_seconds", "bucket_at"], name="monitoring_partial_age"),
        ]

    def __str__(self) -> str:
        return f"{self.series_id} {self.bucket_at:%H:%M:%S} n={self.count}"


class DeviceHour(models.Model):
    """A device that reported in an hour: what "per device" divides by, without a row for each payload."""

    environment = models.CharField(max_length=20)
    hour_at = models.DateTimeField()
    device_id = models.CharField(max_length=200)
    device_class = models.CharField(max_length=80)
    simulated = models.BooleanField()

    class Meta:
        constraints = [
            # also counts the devices of an environment in some hours
            models.UniqueConstraint(fields=["environment", "hour_at", "device_id"], name="monitoring_device_hour_once")
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.device_id} {self.hour_at:%Y-%m-%d %H}"


class PayloadDigest(models.Model):
    """A payload counted within the last hour: sent again, it is acknowledged and not counted twice."""

    digest = models.BinaryField(max_length=32, primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        # the sweeper drops what is older than an hour
        indexes = [models.Index(fields=["seen_at"], name="monitoring_digest_age")]

    def __str__(self) -> str:
        return bytes(self.digest).hex()[:12]
