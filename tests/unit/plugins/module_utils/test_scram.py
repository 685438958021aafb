# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SCRAM by the example of RFC 7677, and servers that don't keep to it."""

from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.scram import Scram, ScramError, prepare

NONCE = "rOprNGfwEbeRWgbNEkqO"
CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
PROOF = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_example_of_rfc_7677() -> None:
    scram = Scram("pencil", NONCE, user="user")
    assert scram.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert scram.final(CHALLENGE) == PROOF
    scram.verify(SIGNATURE)


@pytest.mark.parametrize(
    ("challenge", "said"),
    [
        pytest.param(b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce", id="a nonce that isn't made from ours"),
        pytest.param(f"r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode(), "nonce", id="our nonce alone"),
        pytest.param(f"r={NONCE}x,i=4096".encode(), "lacks", id="no salt"),
        pytest.param(f"r={NONCE}x,s=!,i=4096".encode(), "lacks", id="a salt that is none"),
        pytest.param(f"r={NONCE}x,s=W22Z,i=0".encode(), "0 iterations", id="no iterations"),
        pytest.param(f"r={NONCE}x,s=W22Z,i=99999999".encode(), "iterations", id="iterations for an hour"),
        pytest.param(b"\xff", "ASCII", id="octets"),
    ],
)
def test_an_unsound_challenge_is_refused(challenge: bytes, said: str) -> None:
    with pytest.raises(ScramError, match=said):
        Scram("pencil", NONCE).final(challenge)


@pytest.mark.parametrize("final", [b"v=AAAA", b"e=invalid-proof", b""])
def test_a_server_that_does_not_know_the_password_is_refused(final: bytes) -> None:
    scram = Scram("pencil", NONCE, user="user")
    scram.final(CHALLENGE)
    with pytest.raises(ScramError, match="signature"):
        scram.verify(final)


def test_a_signature_before_the_challenge_is_refused() -> None:
    with pytest.raises(ScramError, match="signature"):
        Scram("pencil", NONCE).verify(b"v=")


@pytest.mark.parametrize(
    ("password", "octets"),
    [
        pytest.param("I\u00adX", b"IX", id="what maps to nothing"),
        pytest.param("\u2168", b"IX", id="compatibility"),
        pytest.param("a\u00a0b", b"a b", id="a space of another kind"),
        pytest.param("grün", "grün".encode(), id="a letter beyond ASCII"),
    ],
)
def test_passwords_are_prepared_as_rfc_4013_says(password: str, octets: bytes) -> None:
    assert prepare(password) == octets
