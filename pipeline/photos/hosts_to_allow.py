"""Photos by URL whose hosts the config does not allow: found in a sample, and told with the line that allows them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from encoders.photos.decode import PhotoError
from encoders.photos.paths import is_web
from pipeline.config.photo_hosts import host_rule
from pipeline.photos.net.settings import WebSettings

_SHOWN = 10  # hosts


@dataclass(frozen=True)
class Refused:
    """Sampled URLs that no rule allows, and how many there are of each host, as `catalog.photo_hosts` would name it."""

    urls: tuple[str, ...]
    hosts: Counter[str]

    def came(self, sampled: int) -> str:
        """What was found among so many sampled photos."""
        most = ", ".join(f"{host} ({count:,})" for host, count in self.hosts.most_common(_SHOWN))
        more = f" and {len(self.hosts) - _SHOWN:,} hosts more" if len(self.hosts) > _SHOWN else ""
        return (
            f"{len(self.urls):,} of {sampled:,} sampled photos are URLs of hosts that are not allowed: {most}{more}; "
            f"such as {self.urls[0][:200]!r}"
        )

    def fix(self, allowed: Sequence[str]) -> str:
        """The line that allows them beside those that are `allowed`."""
        names = [*allowed, *(host for host, _ in self.hosts.most_common(_SHOWN))]
        http = " (http:// is read and changed by anybody on the way: https is better)"
        said = http if any(one.startswith("http://") for one in names) else ""
        return f"where these are the shop's own hosts: catalog.photo_hosts={json.dumps(names)}{said}"


def refused_hosts(paths: Iterable[str], web: WebSettings | None) -> Refused:
    """Of sampled `paths` those that are URLs and that `web` does not allow."""
    from pipeline.photos.net.urls import checked, named, parsed

    urls, hosts = list[str](), Counter[str]()
    for path in filter(is_web, paths):
        try:
            url = parsed(path)
        except PhotoError:  # no URL at all: told with the photos that cannot be had
            continue
        try:
            checked(url, web.hosts if web is not None else (), path)
        except PhotoError:
            if _can_be_allowed(name := named(url)) and not url.userinfo:
                urls.append(path)
                hosts[name] += 1
    return Refused(tuple(urls), hosts)


def _can_be_allowed(name: str) -> bool:
    try:
        host_rule(name)
    except ValueError:
        return False
    return True
