"""`/api/v1/ENVIRONMENT/releases/RELEASE/scans`: security scans, as scanners write them."""

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router, Schema
from ninja.errors import HttpError

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.bounded import TooLarge
from rollout.api.releases import release_found
from rollout.domain.scans import FILE_BYTES
from rollout.models import ScanUpload
from rollout.services import scans as services
from rollout.services.releases import VERSION_CODE_MOST

UPLOAD = asks(Scope.EVIDENCE_WRITE, Role.RELEASER, Role.OPERATOR)
UPLOAD["openapi_extra"]["requestBody"] = {
    "required": True,
    "content": {"application/json": {"schema": {"type": "object"}}},
}

router = Router(tags=["Releases"])


class ScanOut(Schema):
    """What was read from a scanner's file: the findings by severity, and the build that they are of."""

    scan: int
    release: int
    tool: str
    format: str
    digest: str
    findings: dict[str, int]
    version_code: int
    uploaded_by: str
    uploaded_at: datetime


@router.post("/{environment}/releases/{int:pk}/scans", response={201: ScanOut}, **UPLOAD)
def scan_upload(
    request: HttpRequest,
    environment: str,
    pk: int,
    version_code: Annotated[int | None, Query(ge=1, le=VERSION_CODE_MOST)] = None,
) -> ScanOut:
    """Upload a scanner's file, SARIF 2.1.0 or CycloneDX JSON, which is the body; `version_code` is the build it is of."""
    release = release_found(environment, pk)
    # not `request.body`: that stops at the size of a form
    content = request.read(FILE_BYTES + 1)
    if not content:
        raise HttpError(422, "The body must be the file that a scanner wrote.")
    if len(content) > FILE_BYTES:
        raise TooLarge(f"The file has more than {FILE_BYTES // 1_000_000} MB.")
    return scan_out(services.scan_upload(release=release, content=content, version_code=version_code, **who(request)))


def scan_out(made: ScanUpload) -> ScanOut:
    """Return an upload as the API and the command say it."""
    return ScanOut(
        scan=made.pk,
        release=made.release_id,
        tool=made.tool,
        format=made.format,
        digest=made.digest,
        findings=made.counts,
        version_code=made.version_code,
        uploaded_by=made.uploaded_by,
        uploaded_at=made.uploaded_at,
    )
