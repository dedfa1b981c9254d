"""Log lines and crashes of devices, bounded in length, kept for a while."""

from django.db import models

# of OTLP's severities, four numbers each
WORDS = ("trace", "debug", "info", "warn", "error", "fatal")


class LogLine(models.Model):
    """One log record of a device. Ids grow in the order of commits: `selectors.logs.lines_since` misses none."""

    environment = models.CharField(max_length=20)
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    device_id = models.CharField(max_length=200, blank=True)
    device_class = models.CharField(max_length=80, blank=True)
    app_version = models.CharField(max_length=40, blank=True)
    # as OTLP numbers it: 1 trace, 5 debug, 9 info, 13 warn, 17 error, 21 fatal; 0 not said
    severity = models.SmallIntegerField()
    event_name = models.CharField(max_length=100, blank=True)
    body = models.TextField(blank=True)
    exception_type = models.CharField(max_length=200, blank=True)
    exception_message = models.CharField(max_length=500, blank=True)
    # the same stack has the same digest, whatever the addresses and line numbers in it
    stack_digest = models.CharField(max_length=16, blank=True)
    crash = models.BooleanField(default=False)
    simulated = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(severity__gte=0, severity__lte=24), name="monitoring_line_severity"
            ),
        ]
        indexes = [
            # the newest lines of an environment, and how many there are
            models.Index(fields=["environment", "id"], name="monitoring_line_environment"),
            # what is past its retention
            models.Index(fields=["received_at"], name="monitoring_line_age"),
            # the lines of one device
            models.Index(fields=["environment", "device_id", "id"], name="monitoring_line_device"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.event_name or self.body[:40]}"

    @property
    def severity_word(self) -> str:
        """The severity's word; empty when none was said."""
        return WORDS[(self.severity - 1) // 4] if self.severity else ""
