"""Which internet addresses belong to everybody. Standard library only: a watched child process asks it too."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# a gateway there turns the last 32 bits into an address of the old kind
TRANSLATED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


def is_public(found: Address) -> bool:
    """Say whether an address is on the public internet, and so is the older one that may hide inside it."""
    if isinstance(found, ipaddress.IPv6Address):
        inside = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if any(found in one for one in TRANSLATED):
            inside = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if found.is_site_local or (inside is not None and not is_public(inside)):
            return False
    return found.is_global and not found.is_multicast
