"""The troubleshooting guide as data: `problems.yaml`, and how it is read."""
