"""Tokens made on a shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from hawkops.accounts.services.credentials import api_token_find

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.fresh_database
def test_command__api_token__prints_a_token_that_counts_there() -> None:
    def typed(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "manage.py", "api_token", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )

    made = typed("demo", "pipeline", "--scopes", "read", "releases:write", "--days", "7")
    assert made.returncode == 0, made.stderr
    token = api_token_find(secret=made.stdout.strip())
    assert token is not None
    assert (token.environment, token.scopes) == ("demo", ["read", "releases:write"])
    refused = typed("demo", "pipeline", "--scopes", "read", "--days", "400")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "365 days" in refused.stderr
