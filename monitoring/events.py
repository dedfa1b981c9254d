"""What monitoring announces after it is committed; apps above subscribe."""

from hawkops.core.facts import Fact

# the alert's primary key, and what happened: fired, acknowledged, paged again, resolved
alert_moved: Fact[[int, str]] = Fact("alert_moved")
