"""The devices: one that runs real LiteRT on this machine, and a simulated fleet. Clients over HTTP only.

Nothing of ours is imported here, so what works from this folder works from a phone.
"""
