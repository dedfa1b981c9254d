"""Log patterns, what they counted, the lines they matched last, and how far each source was read."""

from django.db import models

from monitoring.domain.patterns import Source


class StoredPattern(models.Model):
    """One pattern. `document` is what rules; `seed` is what the runbook says, null for a team's own."""

    key = models.CharField(max_length=60, unique=True)
    document = models.JSONField()
    seed = models.JSONField(null=True)
    revision = models.IntegerField(default=1)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=120)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.key


class PatternCount(models.Model):
    """How many lines matched in one minute. Lines of this installation's files have no environment."""

    pattern = models.ForeignKey(StoredPattern, models.CASCADE, related_name="counts")
    environment = models.CharField(max_length=20, blank=True)
    minute_at = models.DateTimeField()
    simulated = models.BooleanField(default=False)
    count = models.BigIntegerField()

    class Meta:
        constraints = [
            # counts are added up in it; also finds a pattern's counts since a moment
            models.UniqueConstraint(
                fields=["pattern", "environment", "minute_at", "simulated"], name="monitoring_pattern_minute"
            ),
            models.CheckConstraint(condition=models.Q(count__gt=0), name="monitoring_pattern_counted"),
        ]
        indexes = [
            # what is past its retention
            models.Index(fields=["minute_at"], name="monitoring_pattern_age"),
        ]

    def __str__(self) -> str:
        return f"{self.pattern_id} {self.environment} {self.minute_at:%H:%M} {self.count}"


class PatternSample(models.Model):
    """A line that matched; the newest few of each pattern and environment are kept."""

    pattern = models.ForeignKey(StoredPattern, models.CASCADE, related_name="samples")
    environment = models.CharField(max_length=20, blank=True)
    source = models.CharField(max_length=20, choices=[(source.value, source.value) for source in Source])
    at = models.DateTimeField()
    line = models.CharField(max_length=500)
    device_id = models.CharField(max_length=200, blank=True)
    simulated = models.BooleanField(default=False)

    class Meta:
        indexes = [
            # the newest samples of a pattern
            models.Index(fields=["pattern", "environment", "-id"], name="monitoring_pattern_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.pattern_id} {self.line[:40]}"


class LogCursor(models.Model):
    """How far a source was read: the id of the last log line, or a place in a file. `revision` moves with each read."""

    source = models.CharField(max_length=20, choices=[(source.value, source.value) for source in Source])
    environment = models.CharField(max_length=20, blank=True)
    revision = models.BigIntegerField(default=0)
    read_at = models.DateTimeField(null=True)
    line_id = models.BigIntegerField(default=0)
    path = models.CharField(max_length=1000, blank=True)
    # as text: some file systems number beyond what a big integer holds
    inode = models.CharField(max_length=24, blank=True)
    offset = models.BigIntegerField(default=0)
    size = models.BigIntegerField(default=0)
    # of the file's first bytes: tells it from another one that got its inode
    head_bytes = models.IntegerField(default=0)
    head_digest = models.CharField(max_length=16, blank=True)
    trouble = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "environment"], name="monitoring_cursor_once"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.environment} {self.offset or self.line_id}"
