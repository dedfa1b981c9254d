"""What scripts announce."""

from hawkops.core.facts import Fact

# the primary key of a run that has ended
run_finished: Fact[[int]] = Fact("run_finished")
