"""Writes on security scans: a scanner's file, read and counted."""

import hashlib

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import change
from rollout.domain import scans
from rollout.models import Release, ScanUpload
from rollout.services.releases import EVIDENCE_REFRESH, VERSION_CODE_MOST


def scan_upload(
    *, release: Release, content: bytes, actor: Actor, version_code: int | None = None, request_id: str = ""
) -> ScanUpload:
    """Keep what a scanner's file says of a build, the release's own unless another is named.

    Raises InvalidInput for a file that is no scan; then nothing is kept.
    """
    code = release.version_code if version_code is None else version_code
    if not 0 < code <= VERSION_CODE_MOST:
        raise InvalidInput("The version code is a whole number above 0, as in the app's manifest.")
    found = scans.read(content)
    with change(actor=actor, environment=release.environment, request_id=request_id) as this:
        made = ScanUpload.objects.create(
            release=release,
            tool=found.tool,
            format=found.format,
            digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
            counts=found.counts,
            version_code=code,
            uploaded_by=actor.label,
            uploaded_at=clock.now(),
        )
        this.record(
            "scan.uploaded",
            subject=f"release:{release.pk}",
            after={
                "tool": made.tool,
                "format": made.format,
                "digest": made.digest,
                "findings": found.counts,
                "version_code": code,
            },
        )
        EVIDENCE_REFRESH.enqueue(release_id=release.pk)
    return made
