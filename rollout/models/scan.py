"""Security scans that pipelines and people uploaded."""

from django.db import models

from rollout.models.release import Release


class ScanUpload(models.Model):
    """What a scanner's file said of a release's build. The file itself is not kept, its digest is."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="scans")
    tool = models.CharField(max_length=200)
    format = models.CharField(max_length=20)
    digest = models.CharField(max_length=80)
    # how many findings are how grave
    counts = models.JSONField(default=dict)
    version_code = models.BigIntegerField()
    uploaded_by = models.CharField(max_length=150)
    uploaded_at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.tool} of {self.version_code}"
