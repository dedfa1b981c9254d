"""Response: the emergency console. Incidents, on-call, escalation and notifications come to stand here."""
