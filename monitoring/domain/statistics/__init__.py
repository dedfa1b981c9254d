"""What guardrails and decisions may conclude from devices' values, however often they look. Pure.

`ratio` says whether devices report from the arms as they were shared out.
"""
