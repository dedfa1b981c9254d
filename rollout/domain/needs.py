"""The policy's lines in words: what each asks as a formula, and what brings it where it is missing. Pure."""

from collections.abc import Mapping

# by the key of the line
LINES: Mapping[str, tuple[str, str]] = {
    "order": ("phases come one after another, of a release that is not superseded", "Only the next phase may start."),
    "paused": ("the phase under way is not paused", "Somebody with the role releaser resumes it, with a reason."),
    "time": ("now − start − pauses ≥ the phase's minimum", "Time alone brings it; a pause stops it."),
    "steps": ("steps done = steps of the plan", "The next step is done when it is due and nothing holds it."),
    "sample": (
        "devices that get LiteRT now ≥ the phase's sample",
        "More of the audience's devices come, or a larger step.",
    ),
    "criteria": ("every success criterion in scope passes, one at least", "Each says above what would change it."),
    "guardrails": (
        "no guardrail that acts or holds fails or can't be judged",
        "Each recovers with the values of later hours.",
    ),
    "data": (
        "hours with live data since the target percentage ≥ those that the thresholds ask",
        "It counts by itself while devices report.",
    ),
    "validation": (
        "every line of the validation in scope passes or is waived, one at least",
        "Each line says what would change it; a waiver takes a second person.",
    ),
    "compliance": ("every box of compliance passes or is waived", "Run their scripts, or ask for a waiver."),
    "conclusion": (
        "what runs at the end of the phase has passed or is waived",
        "Both run by themselves once minimum time and hours of data are over.",
    ),
    "recommendation": (
        "the go or no-go says PROCEED, or the proposal says why it goes on against it",
        "The decision's page says of each line what would change it.",
    ),
    "actions": (
        "no action item of an incident is open that holds the next phase",
        "Its owner does it, on the incident's page.",
    ),
    "gates": ("every gate passes or is waived", "The checklist says of each what would change it."),
    "procedure": (
        "every deployment step is done or skipped with a reason",
        "Do or skip the steps on the procedure's page.",
    ),
    "audience": (
        "active devices in its audience ≥ 1; a group alone ≤ 1 % of the fleet, or ≤ 100",
        "Put devices into the group, or wait until those that qualify report.",
    ),
    "flag": ("no override is in force on the phase's flag", "Somebody lifts the override on the emergency page."),
    "approval": (
        "an approver's yes, or one of each team, none of whom made the change",
        "Approvers say yes on the proposal's page; editing it takes every yes back.",
    ),
    "lockdown": (
        "no lockdown stands",
        "On the emergency page one person asks to lift it and an approver, somebody else, confirms.",
    ),
    "freeze": ("no freeze window is open", "It ends by itself, or somebody who may ends it."),
    "plan": ("no plan holds the flag", "The plan ends, or somebody aborts it."),
}
