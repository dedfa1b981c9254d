"""Reading security scans."""

from rollout.models import Release, ScanUpload


def scans_newest(release: Release, version_code: int) -> list[ScanUpload]:
    """Return the newest upload of each tool on a build of a release, newest first."""
    newest = ScanUpload.objects.filter(release=release, version_code=version_code).order_by("tool", "-pk")
    return sorted(newest.distinct("tool"), key=lambda one: -one.pk)


def scan_of_another_build(release: Release) -> ScanUpload | None:
    """Return the newest upload that covers another build than the release's, or None."""
    return ScanUpload.objects.filter(release=release).exclude(version_code=release.version_code).first()
