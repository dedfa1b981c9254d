"""What an auditor takes away: a release's compliance pack, who held which role, who reviewed that. Reads every app below."""
