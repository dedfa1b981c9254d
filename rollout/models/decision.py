"""Go or no-go between phases, as it was decided: kept for good."""

from django.db import models

from rollout.models.proposal import PhaseRun, Proposal
from rollout.models.release import Release


class PhaseDecision(models.Model):
    """What was recommended after a phase and what people decided, with everything that it was judged from.

    `bundle_text` is the whole document; its `digest` stands in the history, in the entry of the decision.
    """

    DECIDED = ("go", "no-go", "roll back")
    RECOMMENDED = ("PROCEED", "HOLD", "ROLL_BACK")

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="decisions")
    run = models.ForeignKey(PhaseRun, on_delete=models.PROTECT, related_name="decisions")
    # the phase that was judged
    number = models.SmallIntegerField()
    recommendation = models.CharField(max_length=10, choices=[(one, one) for one in RECOMMENDED])
    decided = models.CharField(max_length=10, choices=[(one, one) for one in DECIDED])
    disagrees = models.CharField(max_length=500, blank=True)
    reason = models.CharField(max_length=300)
    by = models.CharField(max_length=150)
    reference = models.CharField(max_length=60)
    at = models.DateTimeField()
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, null=True)
    # canonical JSON: jsonb would write large numbers anew, and the digest would no longer be theirs
    bundle_text = models.TextField()
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(decided__in=["go", "no-go", "roll back"]), name="rollout_decision_decided"
            ),
            models.CheckConstraint(
                condition=models.Q(recommendation__in=["PROCEED", "HOLD", "ROLL_BACK"]),
                name="rollout_decision_recommendation",
            ),
            # going on against the recommendation has its reason
            models.CheckConstraint(
                condition=~models.Q(decided="go") | models.Q(recommendation="PROCEED") | ~models.Q(disagrees=""),
                name="rollout_decision_disagrees",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decided} after phase {self.number} of {self.release_id}"
