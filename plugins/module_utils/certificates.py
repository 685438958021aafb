# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a server's certificate still serves, and what to ask for where it doesn't."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

DAY = 86400
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
PUBLIC_KEY = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n?", re.DOTALL)

# A longer one fits no certificate.
COMMON_NAME = re.compile(r"[A-Za-z0-9 ._-]{1,64}\Z")


class CertificateError(ValueError):
    """A certificate that can't be asked for or used, with the remedy."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says; times in seconds since 1970."""

    common_name: str
    names: tuple[str, ...]
    not_after: int
    public_key: str


@dataclass(frozen=True)
class Wanted:
    """What a certificate is to say, and the days of life below which it is renewed.

    Without a common name, it is the authority's to choose: public ones allow none but a host name, or leave it out.
    """

    common_name: str
    names: tuple[str, ...]
    renew_before: int


def parse_names(values: Sequence[str]) -> tuple[str, ...]:
    """Give the names in one spelling, sorted: `DNS:` in lower case, `IP:` as short as it goes."""
    if not values:
        raise CertificateError(
            "subject_alt_names: the list is empty; name what the certificate is for, like DNS:db1.example.org"
        )
    return tuple(sorted({_parse_name(value) for value in values}))


def parse_wanted(common_name: str, values: Sequence[str], renew_before: int) -> Wanted:
    """Read what is wanted; refuse what no certificate can say."""
    if common_name and not COMMON_NAME.match(common_name):
        raise CertificateError(
            f"common_name: {common_name!r} must have at most 64 letters, digits, blanks, dots, - and _"
        )
    if renew_before < 0:
        raise CertificateError(f"renew_before: {renew_before} must be a number of days, 0 or more")
    return Wanted(common_name, parse_names(values), renew_before)


def parse_certificate(text: str) -> Certificate:
    """Read what `openssl x509 -subject -nameopt RFC2253 -enddate -ext subjectAltName -pubkey` prints."""
    subject = re.search(r"^subject=(.*)$", text, re.MULTILINE)
    end = re.search(r"^notAfter=(.+)$", text, re.MULTILINE)
    key = PUBLIC_KEY.search(text)
    if not subject or not end or not key:
        raise CertificateError("openssl's description of the certificate can't be read")
    common_name = re.search(r"(?:^|,)CN=([^,]*)", subject[1].strip())
    return Certificate(
        common_name=common_name[1] if common_name else "",
        names=_printed_names(text),
        not_after=int(ssl.cert_time_to_seconds(end[1])),
        public_key=key[0].strip(),
    )


def find_reasons(
    present: Certificate | None, wanted: Wanted, public_key: str, now: float, is_trusted: bool
) -> tuple[str, ...]:
    """Say why a new certificate is needed; nothing means that the present one serves."""
    if present is None:
        return ("there is none",)
    reasons = []
    if present.public_key != public_key.strip():
        reasons.append("it belongs to another key")
    if wanted.common_name not in ("", present.common_name) or present.names != wanted.names:
        reasons.append(f"it is for {_spoken(present)}, not for {_spoken(wanted)}")
    if not is_trusted:
        reasons.append("the environment's authority did not sign it")
    days = int((present.not_after - now) // DAY)
    if days < wanted.renew_before:
        reasons.append(f"it ends in {days} days" if days >= 0 else f"it ended {-days} days ago")
    return tuple(reasons)


def render_request_config(wanted: Wanted) -> str:
    """Write the configuration that `openssl req -config -subj` makes a request from."""
    names = ",".join(wanted.names)
    return (
        "[req]\ndistinguished_name = subject\nreq_extensions = extensions\n[subject]\n"
        "[extensions]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n"
        f"extendedKeyUsage = serverAuth,clientAuth\nsubjectAltName = {names}\n"
    )


def _parse_name(value: str) -> str:
    kind, _colon, rest = value.partition(":")
    if kind == "DNS" and _is_host_name(rest.lower()):
        return f"DNS:{rest.lower()}"
    if kind == "IP":
        try:
            return f"IP:{ipaddress.ip_address(rest)}"
        except ValueError:
            pass
    raise CertificateError(f"subject_alt_names: {value!r} is neither DNS:<host name> nor IP:<address>")


def _is_host_name(name: str) -> bool:
    labels = name.removeprefix("*.").split(".")
    return len(name) <= 253 and all(LABEL.match(label) for label in labels)


def _printed_names(text: str) -> tuple[str, ...]:
    line = re.search(r"X509v3 Subject Alternative Name:.*\n\s*(.+)", text)
    if not line:
        return ()
    spelled = [name.strip().replace("IP Address:", "IP:") for name in line[1].split(",")]
    return tuple(sorted(_parse_name(name) if name.startswith(("DNS:", "IP:")) else name for name in spelled))


def _spoken(what: Certificate | Wanted) -> str:
    return " ".join(filter(None, (what.common_name, *what.names)))
