"""URLs as feeds write them: read by one parser, the very one whose result is connected to, and held against the rules.

Two parsers that read one URL in two ways are how such rules are got round; what any reads in a way of its own (a
backslash, a user before the host) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import httpx2

from encoders.photos.limits import PhotoError
from foundation.reasons import Reason
from pipeline.config.photo_hosts import HostRule

_ODD = re.compile(r"[\x00-\x1f\x7f\\]")
_PORTS = {"https": 443, "http": 80}


def allowed(url: str, rules: Sequence[HostRule]) -> httpx2.URL:
    """`url` as it is asked for, without fragment; PhotoError `image_forbidden` where no rule allows it."""
    return checked(parsed(url), rules, url)


def joined(base: httpx2.URL, location: str, rules: Sequence[HostRule]) -> httpx2.URL:
    """Where a redirect from `base` leads; PhotoError as `allowed`."""
    if _ODD.search(location):
        raise _forbidden("a redirect to what is no URL", location)
    try:
        url = base.join(location).copy_with(fragment=None)
    except (httpx2.InvalidURL, ValueError) as err:
        raise _forbidden("a redirect to what is no URL", location) from err
    return checked(url, rules, str(url), "a redirect to ")


def parsed(url: str) -> httpx2.URL:
    """`url`, read; PhotoError where it is none."""
    if _ODD.search(url):
        raise _forbidden("no URL, it has a backslash or a control character", url)
    try:
        return httpx2.URL(url.strip()).copy_with(fragment=None)
    except (httpx2.InvalidURL, ValueError) as err:
        raise _forbidden("no URL", url) from err


def checked(url: httpx2.URL, rules: Sequence[HostRule], written: str, how: str = "") -> httpx2.URL:
    """`url`, which one of the rules allows; PhotoError else."""
    if url.userinfo:
        raise _forbidden(f"{how}a URL with a user in front of its host", written)
    scheme, host = url.scheme, host_of(url)
    if any(rule.allows(scheme, host, port_of(url)) for rule in rules):
        return url
    place = named(url)
    if any(rule.allows("https", host, 443) for rule in rules):
        raise _forbidden(f"{how}{place}, allowed is https on port 443 alone (catalog.photo_hosts)", written)
    raise _forbidden(f"{how}a host that catalog.photo_hosts does not allow, {place}", written)


def host_of(url: httpx2.URL) -> str:
    """The host as rules have it: lower case, IDNA."""
    return url.raw_host.decode("ascii")


def port_of(url: httpx2.URL) -> int:
    """The port that is connected to."""
    return url.port or _PORTS.get(url.scheme, 0)


def named(url: httpx2.URL) -> str:
    """The host as `catalog.photo_hosts` would allow it: with its scheme and its port where these have to be said."""
    host = f"[{host_of(url)}]" if ":" in host_of(url) else host_of(url)
    scheme = "" if url.scheme == "https" else f"{url.scheme}://"
    port = "" if port_of(url) == _PORTS.get(url.scheme) else f":{port_of(url)}"
    return f"{scheme}{host}{port}"


def _forbidden(what: str, url: str) -> PhotoError:
    return PhotoError(Reason.IMAGE_FORBIDDEN, f"{what}: {url[:200]}")
