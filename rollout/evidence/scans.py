"""Security scanning: what scanners' files said of the release's build, the newest of each tool."""

from hawkops.core.verdicts import Verdict
from rollout.domain.gates import Finding, Line, together
from rollout.domain.scans import CRITICAL, SEVERITIES
from rollout.evidence.shape import Question
from rollout.models import ScanUpload
from rollout.selectors.scans import scan_of_another_build, scans_newest


def security_scan(asked: Question) -> Finding:
    """No tool's newest scan of this build has a critical finding; what is too old counts only when nothing else does."""
    release = asked.release
    found = scans_newest(release, release.version_code)
    if not found:
        other = scan_of_another_build(release)
        if other is None:
            return Finding(Verdict.NO_DATA, "No scan was uploaded yet.")
        said = f"The newest scan is of version code {other.version_code}, the release has {release.version_code}."
        return Finding(Verdict.NO_DATA, said)
    counting = [one for one in found if asked.now < one.uploaded_at + asked.box.valid_for] or found[:1]
    lines = tuple(_line(one) for one in counting)
    critical = sum(one.counts.get(CRITICAL, 0) for one in counting)
    tools = ", ".join(one.tool for one in counting)
    sentence = f"{critical or 'No'} critical finding{'' if critical == 1 else 's'} by {tools}."
    return Finding(
        together(lines),
        sentence,
        {"version_code": release.version_code, "digests": [one.digest for one in counting]},
        lines,
        source=f"scan:{counting[0].pk}",
        measured_at=min(one.uploaded_at for one in counting),
    )


def _line(scan: ScanUpload) -> Line:
    said = ", ".join(f"{scan.counts[one]} {one}" for one in SEVERITIES if scan.counts.get(one)) or "no finding"
    failed = scan.counts.get(CRITICAL, 0) > 0
    sentence = f"{said}; {scan.format} uploaded by {scan.uploaded_by}"
    return Line(scan.tool, Verdict.FAIL if failed else Verdict.PASS, sentence)
