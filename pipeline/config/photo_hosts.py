"""Hosts from which photos may be fetched, as `catalog.photo_hosts` names them, and networks beside the public ones."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as the last label: an address, however it is written (WHATWG URL, 3.5)


@dataclass(frozen=True)
class HostRule:
    """Photos of one host, or with `below` of every host below it, by one scheme and one port."""

    scheme: str
    host: str  # as a URL has it: lower case, IDNA, an IPv6 address without brackets
    port: int
    below: bool = False

    def allows(self, scheme: str, host: str, port: int) -> bool:
        """Whether it is this host, by this scheme and port."""
        same = host.endswith(f".{self.host}") if self.below else host == self.host
        return same and (scheme, port) == (self.scheme, self.port)


def host_rule(written: str) -> HostRule:
    """`cdn.example.com`, `*.example.com`, `cdn.example.com:8443` or `http://cdn.example.com`; ValueError in words."""
    scheme, mark, rest = written.strip().partition("://")
    if not mark:
        scheme, rest = "https", scheme
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise ValueError("a host reached by https, or by http where it says so: `http://photos.example.com`")
    if re.search(r"[/?#@\\\s]", rest):
        raise ValueError("the name of a host alone, without path or user, as `cdn.example.com`")
    host, port = _port(rest, _PORTS[scheme])
    below = host.startswith("*.")
    name = host.removeprefix("*.")
    if host.startswith("["):
        return HostRule(scheme, str(ipaddress.IPv6Address(host[1:-1])), port)
    labels = _ascii(name).split(".")
    if _NUMBER.fullmatch(labels[-1]):
        if below:
            raise ValueError("a name behind `*.`, not an address")
        return HostRule(scheme, str(ipaddress.IPv4Address(".".join(labels))), port)
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the name of a host, as `cdn.example.com`, or `*.example.com` for all below it")
    if below and len(labels) < 2:
        raise ValueError("a domain of one's own behind `*.`, as `*.example.com`: all of a top level is never allowed")
    return HostRule(scheme, ".".join(labels), port, below)


def checked_host(written: str) -> str:
    """`written`, which is a host rule; ValueError for anything else."""
    host_rule(written)
    return written


def network(written: str) -> Network:
    """`10.0.0.0/8`, or one address; ValueError in words."""
    try:
        return ipaddress.ip_network(written.strip())
    except ValueError as err:
        raise ValueError(f"a network or an address, as `10.0.0.0/8` ({err})") from err


def checked_network(written: str) -> str:
    """`written`, which is a network; ValueError for anything else."""
    network(written)
    return written


def _port(rest: str, default: int) -> tuple[str, int]:
    host, mark, port = rest.rpartition(":")
    if not mark or rest.endswith("]"):
        return rest, default
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise ValueError(f"a port from 1 to 65535 behind the colon, not {port!r}")
    return host, int(port)


def _ascii(name: str) -> str:
    """The name in lower case, and as IDNA where it is not ASCII."""
    if name.isascii():
        return name.lower()
    import idna

    try:
        return idna.encode(name.lower()).decode("ascii")
    except idna.IDNAError as err:
        raise ValueError(f"a name that IDNA allows ({err})") from err
