"""The incidents' part of the REST API: one router a noun. What stands in `ROUTERS` is mounted and tested by that."""

from incidents.api import channels, incidents, oncall, rollback, troubleshooting

ROUTERS = (incidents.router, channels.router, oncall.router, rollback.router, troubleshooting.router)
