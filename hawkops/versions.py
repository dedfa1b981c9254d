"""What runs here: HawkOps, Python, Django."""

import platform
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def hawkops() -> str:
    """Return the version, and the commit where this is a checkout."""
    number = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    commit = _commit(ROOT / ".git")
    return f"{number} ({commit[:12]})" if commit else str(number)


def _commit(git: Path) -> str:
    """Read the commit that is checked out without asking git, which a server may lack; empty where there is none."""
    try:
        if git.is_file():  # a worktree
            git = Path(git.read_text().removeprefix("gitdir:").strip())
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        name = head.removeprefix("ref:").strip()
        shared = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
        if (shared / name).exists():
            return (shared / name).read_text().strip()
        packed = (shared / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    except OSError:
        return ""


def versions() -> dict[str, str]:
    """Return HawkOps, Python and Django."""
    return {"hawkops": hawkops(), "python": platform.python_version(), "django": version("django")}
