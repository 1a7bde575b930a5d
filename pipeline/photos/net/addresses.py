"""Addresses that may be connected to: public ones, and those of networks that the config opens.

A name in a feed may lead anywhere: to this machine, to the metadata service of a cloud, into the shop's own network. So
an address is judged after the name was resolved, and that very address is connected to: a second look-up could answer
something else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from pipeline.config.photo_hosts import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Beside what `is_global` says, which differs between versions of Python (CVE-2024-4032): special by the registries of
# RFC 6890, and those that carry an IPv4 address inside, public or not.
_SPECIAL = tuple(
    ipaddress.ip_network(one)
    for one in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16"),
        *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)


def may_connect(address: str, opened: Sequence[Network]) -> bool:
    """Whether `address`, as the resolver gave it, is public, or lies in one of the `opened` networks."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if any(found.version == one.version and found in one for one in opened):
        return True
    return _is_public(found)


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or getattr(address, "scope_id", None):
        return False
    return not any(address.version == one.version and address in one for one in _SPECIAL)
