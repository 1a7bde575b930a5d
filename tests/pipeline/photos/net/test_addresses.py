"""What a URL in a feed may lead to: hosts that are allowed, at public addresses, and nothing else."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from encoders.photos.limits import PhotoError
from pipeline.config.photo_hosts import host_rule, network
from pipeline.photos.net.addresses import may_connect
from pipeline.photos.net.backend import AddressRefusedError, GuardedBackend
from pipeline.photos.net.urls import allowed

RULES = (host_rule("cdn.example.com"), host_rule("*.img.example.com"), host_rule("http://old.example.com:8080"))

FINE = (
    "https://cdn.example.com/a.jpg",
    "https://cdn.example.com:443/a.jpg",
    "HTTPS://CDN.Example.COM/a b/ü.jpg?v=1#top",
    "https://cdn.example.com/?@169.254.169.254/",
    "https://cdn.example.com/#@169.254.169.254/",
    "https://1.img.example.com/a.jpg",
    "https://a.b.img.example.com/a.jpg",
    "http://old.example.com:8080/a.jpg",
    "https://cdn。example。com/a.jpg",  # IDNA's dots: the same name
)
# Ways round a list of hosts, from collections of them: each leads to, or was once taken to lead to, another place.
REFUSED = (
    "http://cdn.example.com/a.jpg",
    "https://cdn.example.com:8443/a.jpg",
    "https://cdn.example.com:80/a.jpg",
    "http://old.example.com/a.jpg",
    "https://old.example.com:8080/a.jpg",
    "https://img.example.com/a.jpg",
    "https://evilimg.example.com/a.jpg",
    "https://cdn.example.com.evil.net/a.jpg",
    "https://evilcdn.example.com/a.jpg",
    "https://cdn.example.com./a.jpg",
    "https://cdn.example.com@evil.net/a.jpg",
    "https://evil.net@cdn.example.com/a.jpg",
    "https://cdn.example.com:443@evil.net/a.jpg",
    "https://cdn.example.com%40evil.net/a.jpg",
    "https://cdn%2eexample%2ecom/a.jpg",
    "https://cdn.example.com%00.evil.net/a.jpg",
    "https://evil.net\\@cdn.example.com/a.jpg",
    "https://cdn.example.com\\.evil.net/a.jpg",
    "https:\\\\cdn.example.com/a.jpg",
    "https:/cdn.example.com/a.jpg",
    "https:///cdn.example.com/a.jpg",
    "https://evil.net/cdn.example.com",
    "https://evil.net#cdn.example.com",
    "https://evil.net?cdn.example.com",
    "https://cdn.example.com\t.evil.net/",
    "https://cdn.example.com\r\nHost: evil.net/",
    "https://ｃｄｎ.example.com/a.jpg",
    "https://cdn.exаmple.com/a.jpg",  # a Cyrillic letter
    "https://cdn.example.com:99999/a.jpg",
    "https://cdn.example.com:４４３０/a.jpg",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST:443/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1.nip.io/",
    "https://①②⑦.0.0.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:169.254.169.254]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "https://2852039166/latest/meta-data/",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://100.100.100.200/latest/meta-data/",
    "https://192.168.0.1/",
    "https://[cdn.example.com]/a.jpg",
    "https://[::1]cdn.example.com/a.jpg",
    "https://",
    "http://",
)
NOT_PUBLIC = (
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::"),
    *("2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1"),
    *("ff02::1", "localhost", "0x7f000001", "2130706433", ""),
)
PUBLIC = ("8.8.8.8", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001:80b::200e")


@pytest.mark.parametrize("url", FINE)
def test_allowed_hosts_are_allowed_however_they_are_written(url: str) -> None:
    """Case, IDNA and the port of the scheme do not matter; nor does what stands behind the host."""
    assert allowed(url, RULES).host


@pytest.mark.parametrize("url", REFUSED)
def test_ways_round_the_list_of_hosts_are_refused(url: str) -> None:
    """What is not exactly an allowed host, by its scheme and port, is `image_forbidden`; nothing is looked up."""
    with pytest.raises(PhotoError) as refused:
        allowed(url, RULES)
    assert refused.value.code == "image_forbidden"


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_only_public_addresses_are_connected_to(address: str) -> None:
    """Private, local, shared, reserved and multicast addresses are refused, and those that carry an IPv4 one."""
    assert not may_connect(address, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_connected_to(address: str) -> None:
    """Others are what the web is made of."""
    assert may_connect(address, ())


def test_networks_are_opened_by_name() -> None:
    """catalog.photo_networks opens what it names, and no more."""
    opened = (network("10.0.0.0/8"), network("fd00::/64"))
    assert may_connect("10.9.9.9", opened)
    assert may_connect("fd00::7", opened)
    assert not any(may_connect(one, opened) for one in ("11.0.0.0.", "172.16.0.1", "fd01::7", "::ffff:10.9.9.9"))


@pytest.mark.parametrize("address", [one for one in NOT_PUBLIC if one])
def test_a_name_is_judged_by_what_it_resolves_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An allowed name that leads to an address that is not public is refused when it is connected to."""

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

    async def connect() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        await GuardedBackend(()).connect_tcp("cdn.example.com", 443, timeout=5)

    with pytest.raises(AddressRefusedError):
        asyncio.run(connect())


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that answers otherwise the second time (DNS rebinding) is asked once."""
    asked = []

    async def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(asked) > 1 else "192.0.2.7", 443))]

    async def connect() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        await GuardedBackend((network("192.0.2.0/24"),)).connect_tcp("cdn.example.com", 443, timeout=0.2)

    with pytest.raises(Exception) as failed:  # noqa: PT011 - nobody is at this address
        asyncio.run(connect())
    assert asked == ["cdn.example.com"]
    assert not isinstance(failed.value, AddressRefusedError)


@pytest.mark.parametrize(
    "written",
    [
        *("", "*", "*.com", "ftp://a.example", "a.example/path", "user@a.example", "a b", "a.example:0", "a.example:x"),
        *("2130706433", "0x7f.1", "127.1", "*.10.0.0.1", "https://", "-a.example", "a..example", "a\\b"),
    ],
)
def test_what_is_no_host_is_no_rule(written: str) -> None:
    """A rule names a host, or all below a domain: never everything, a path, or a number that is an address to some."""
    with pytest.raises(ValueError, match=r"."):
        host_rule(written)
