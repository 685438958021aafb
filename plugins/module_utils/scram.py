# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SCRAM-SHA-256 (RFC 5802, RFC 7677): prove that one knows a password, and that the server does."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stringprep
import unicodedata

MECHANISM = "SCRAM-SHA-256"
# A server may ask for any number of rounds; this many take about a second.
ITERATION_LIMIT = 1_000_000


class ScramError(Exception):
    """The server does not keep to SCRAM, or doesn't know the password's verifier."""


class Scram:
    """One login, without channel binding; the name is empty, for PostgreSQL takes that of its startup message."""

    def __init__(self, password: str, nonce: str, user: str = "") -> None:
        self.password = prepare(password)
        self.nonce = nonce
        self.first_bare = f"n={user},r={nonce}"
        self.signature = b""

    def first(self) -> bytes:
        return f"n,,{self.first_bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        """Answer the server's challenge."""
        fields = _fields(server_first)
        try:
            nonce, iterations = fields["r"], int(fields["i"])
            salt = base64.b64decode(fields["s"], validate=True)
        except (KeyError, ValueError, binascii.Error) as error:
            raise ScramError("its challenge lacks nonce, salt or iterations") from error
        if not nonce.startswith(self.nonce) or nonce == self.nonce:
            raise ScramError("its nonce is not made from ours")
        if not 1 <= iterations <= ITERATION_LIMIT:
            raise ScramError(f"it asks for {iterations} iterations, more than {ITERATION_LIMIT}")
        salted = hashlib.pbkdf2_hmac("sha256", self.password, salt, iterations)
        without_proof = f"c=biws,r={nonce}"
        message = ",".join([self.first_bare, server_first.decode(), without_proof]).encode()
        key = _hmac(salted, b"Client Key")
        mask = _hmac(hashlib.sha256(key).digest(), message)
        proof = bytes(left ^ right for left, right in zip(key, mask, strict=True))
        self.signature = _hmac(_hmac(salted, b"Server Key"), message)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final: bytes) -> None:
        """Refuse a server that doesn't know the verifier."""
        expected = base64.b64encode(self.signature).decode()
        if not self.signature or not hmac.compare_digest(_fields(server_final).get("v", ""), expected):
            raise ScramError("its signature is wrong: it does not know the password's verifier")


def prepare(password: str) -> bytes:
    """SASLprep (RFC 4013); what it forbids is taken as it is, as PostgreSQL does."""
    if password.isascii():
        return password.encode()
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter for letter in password if not stringprep.in_table_b1(letter)
    )
    return unicodedata.normalize("NFKC", mapped).encode()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _fields(message: bytes) -> dict[str, str]:
    try:
        text = message.decode("ascii")
    except UnicodeDecodeError as error:
        raise ScramError("its message is not ASCII") from error
    return {part[0]: part[2:] for part in text.split(",") if part[1:2] == "="}
