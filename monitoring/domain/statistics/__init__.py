"""What guardrails and decisions may conclude from devices' values, however often they look. Pure.

A look at a phase, every minute or after an hour is closed:

1. `values.by_band` makes one value per device and band of its age out of hourly aggregates (the panel's), fixed once it
   counts. `means.Sample.of` or `proportions.Events.of` sums an arm's values up: of a band, of all devices or of a class.
2. `spending.spend`, once when the phase starts, shares 1 % of false alarms out; `Budget.alpha` is each comparison's part.
3. `guardrails.judge` sets the treatment against the concurrent control and against an absolute limit: verdict, sentence,
   and whether a miss of more than 20 % is certain, possible or safe. `guardrails.progress`: have, need, and in how long.
4. `ratio.sample_ratio` says whether devices report from the arms as they were shared out; its result goes to `judge`, and
   `reporting.judge_ratio` says whether the treatment lacks some. `reporting.judge_reports`, once for each closed hour, says
   whether the treatment falls silent.
5. When one fails, `monitoring.domain.cohorts.culprits` finds the smallest exclusion that restores it.

Counted events (crashed or not; the share of a device's inferences that failed) are `Events`: exact with however few.
Measured amounts, of which few are zero, are a `Sample`: right from thirty devices an arm on, in simulations up to a standard
deviation of twice the mean. `manage.py bench statistics` measures the error rates of all of it.
"""
