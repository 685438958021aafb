# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""TLS on a conversation: whose certificate it is and whether it holds."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Mapping
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Phase
from ansible_collections.nectar.backend.plugins.module_utils.probe_conversation import Ended, Findings, Talk

CHUNK = 65_536


@functools.cache
def client_context(ca_file: str, named: bool) -> ssl.SSLContext:
    """Who is trusted; without a name to prove, the chain alone is looked at."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.check_hostname = named
    return context


class Tls:
    """A TLS client that never touches a socket."""

    def __init__(self, ca_file: str, server_name: str, findings: Findings) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = client_context(ca_file, bool(server_name))
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name or None)
        self.findings = findings

    def open(self) -> Talk[None]:
        """Shake hands; afterwards it is known whose certificate it is."""
        self.findings.phase = Phase.TLS
        while True:
            try:
                self.session.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.incoming.write((yield self.outgoing.read()))
            except ssl.SSLError as error:
                self.findings.tls_error = explain(error)
                self.findings.certificate = describe(self._unverified())
                raise Ended from error
        self.findings.certificate = describe(self.session.getpeercert() or {})
        self.findings.phase = Phase.ANSWER

    def say(self, octets: bytes) -> Talk[bytes]:
        """Send, and wait for something back."""
        while True:
            try:
                if octets:
                    self.session.write(octets)
                    octets = b""
                received = self.session.read(CHUNK)
            except ssl.SSLWantReadError:
                self.incoming.write((yield self.outgoing.read()))
                continue
            except ssl.SSLError as error:
                raise Ended("EPROTO", explain(error)) from error
            if not received:
                raise Ended("EOF")
            return received

    def farewell(self, octets: bytes = b"") -> bytes:
        """What to send last: our side's end of the handshake and of the session, so that no server logs an error."""
        with contextlib.suppress(ssl.SSLError):
            if octets:
                self.session.write(octets)
            self.session.unwrap()
        return self.outgoing.read()

    def _unverified(self) -> Mapping[str, Any]:
        """The certificate that was refused; Python shows it in no public way before 3.13, and then as DER alone."""
        chain = getattr(getattr(self.session, "_sslobj", None), "get_unverified_chain", None)
        certificates = chain() if chain else None
        return dict(certificates[0].get_info()) if certificates else {}


def talk_tls(ca_file: str, server_name: str, findings: Findings) -> Talk[bytes]:
    """The whole probe: a handshake and no more."""
    tls = Tls(ca_file, server_name, findings)
    yield from tls.open()
    findings.phase = Phase.DONE
    return tls.farewell()


def explain(error: ssl.SSLError) -> str:
    """What went wrong, in OpenSSL's own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"what answers speaks no TLS ({error.reason})"
    return (error.reason or str(error)).replace("_", " ").lower()


def describe(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """What a certificate says of itself, as far as a person needs it."""
    if not certificate:
        return {}
    subject = [f"{key}={value}" for part in certificate.get("subject", ()) for key, value in part]
    issuer = [f"{key}={value}" for part in certificate.get("issuer", ()) for key, value in part]
    return {
        "subject": ", ".join(subject),
        "issuer": ", ".join(issuer),
        "names": [value for _kind, value in certificate.get("subjectAltName", ())],
        "not_after": certificate.get("notAfter", ""),
    }
