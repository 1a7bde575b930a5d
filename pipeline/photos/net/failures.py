"""What went wrong with a try: the reason of the reject, whether it may pass, whether to try again, and whose fault.

Details begin with a few fixed words, which they are counted by, and end with the URL.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import httpcore2

from encoders.photos.limits import PhotoError
from foundation.machine import machine_fault
from foundation.reasons import Reason
from pipeline.photos.net.backend import AddressRefusedError
from pipeline.photos.net.exchange import Answer
from pipeline.photos.net.freshness import seconds_until

_GONE, _FORBIDDEN = (404, 410), (401, 402, 403, 407, 451)
_TOO_MANY = (429, 503)
_AGAIN = (408, *_TOO_MANY)  # and all of 500 to 599 else
_UNKNOWN_CA = (18, 19, 20, 21)  # OpenSSL's codes of a chain that ends at nobody known
_LONGEST = 3600.0  # seconds that a host may ask for


@dataclass(frozen=True)
class Failure:
    """Why a photo was not had in a try."""

    code: str  # a reject's reason
    words: str  # the detail, without its URL
    again: bool = False  # another try now may have it
    of_host: bool = False  # it says something of the host, and not of this photo alone
    certain: bool = False  # it will be so for all photos of the host
    after: float | None = None  # seconds that the host asks to wait

    @property
    def lasts(self) -> bool:
        """Whether it counts for `photo_fresh_hours`; what the config refuses does not, it may be another by then."""
        return self.code == Reason.IMAGE_NOT_FOUND

    @property
    def may_pass(self) -> bool:
        """Whether it may be had another night."""
        return self.code == Reason.IMAGE_UNAVAILABLE

    def error(self, url: str) -> PhotoError:
        """The reject of the photo at `url`."""
        return PhotoError(self.code, f"{self.words}: {url[:200]}", may_pass=self.may_pass)


class TryError(Exception):
    """A try that ended in a `failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def failure_of_status(answer: Answer) -> Failure:
    """Why an answer that is no photo is none."""
    status = answer.status
    words = f"the host answers HTTP {status}"
    if status in _GONE:
        return Failure(Reason.IMAGE_NOT_FOUND, words)
    if status in _FORBIDDEN:
        return Failure(Reason.IMAGE_FORBIDDEN, words)
    again = status in _AGAIN or 500 <= status <= 599
    after = _retry_after(answer.headers.get("retry-after", "")) if status in _TOO_MANY else None
    return Failure(Reason.IMAGE_UNAVAILABLE, words, again=again, of_host=again, after=after)


def failure_of(err: Exception, seconds: float) -> Failure:
    """Why a try that raised `err` has no photo; VitrineError where this machine is at fault."""
    for one in _chain(err):
        fault = machine_fault(one) if isinstance(one, OSError | MemoryError) else None
        if fault is not None:
            raise fault from err
    if isinstance(err, PhotoError):
        words = err.message.rpartition(": ")[0] or err.message
        return Failure(str(err.code), words, of_host=False)
    if isinstance(err, AddressRefusedError):
        came = ", ".join(err.addresses[:3]) or "none"
        words = f"{err.host} has no public address ({came}); catalog.photo_networks opens networks"
        return Failure(Reason.IMAGE_FORBIDDEN, words, of_host=True, certain=True)
    certificate = next((one for one in _chain(err) if isinstance(one, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        words = f"the certificate is not trusted ({certificate.verify_message})"
        words += "; catalog.photo_ca names a file of more CAs" if certificate.verify_code in _UNKNOWN_CA else ""
        return Failure(Reason.IMAGE_UNAVAILABLE, words, of_host=True, certain=True)
    if isinstance(err, TimeoutError | httpcore2.TimeoutException):
        return Failure(Reason.IMAGE_UNAVAILABLE, f"no answer in {seconds:g} s", again=True, of_host=True)
    return Failure(Reason.IMAGE_UNAVAILABLE, _words(err), again=True, of_host=True)


def _words(err: Exception) -> str:
    """What broke."""
    if isinstance(err, httpcore2.ConnectError):
        if any(isinstance(one, ssl.SSLError) for one in _chain(err)):
            return "no TLS connection"
        return "no address is known of the host" if str(err).startswith("no address of ") else "no connection"
    if isinstance(err, httpcore2.NetworkError) or str(err).startswith("Server disconnected"):
        return "the connection broke off"
    if isinstance(err, httpcore2.ProtocolError | zlib.error):
        return "a broken answer"
    return f"a broken answer ({type(err).__name__})"


def _retry_after(value: str) -> float | None:
    """Seconds, of a number of them or of a date (RFC 9110, 10.2.3); None where it says nothing."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(_LONGEST, float(value[:6]))
    seconds = seconds_until(value)
    return None if seconds is None else min(_LONGEST, max(0.0, seconds))


def _chain(err: BaseException) -> Iterator[BaseException]:
    """`err`, and what it came of."""
    found: BaseException | None = err
    for _ in range(8):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__
