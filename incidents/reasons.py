"""Reasons in the runbook's words, one tap to accept. A reason never holds up a kill."""

KILL = (
    "Production incident",
    "Emergency fallback",
    "Performance degradation",
    "Stability issues",
    "Security incident detected",
    "Pre-deployment test",
)
DISABLE = ("Performance degradation", "Stability issues", "Incompatible GPU driver", "Pre-deployment test")
REASON_CHARACTERS = 300


def reason(chosen: str, words: str, *, otherwise: str) -> str:
    """Join the chosen reason and what was typed; `otherwise` when there is neither."""
    parts = [part.strip() for part in (chosen, words) if part.strip()]
    return ": ".join(parts)[:REASON_CHARACTERS] or otherwise
