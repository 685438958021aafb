# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates that programs would accept, and keys that nobody else can read."""

from __future__ import annotations

from typing import Any

testinfra_hosts = ["ansible://all"]

DIRECTORY = "/etc/nectar/tls"
AUTHORITY = f"{DIRECTORY}/ca.crt"


def names_of(host: Any) -> list[str]:
    """Return the names of the certificates on this server."""
    with host.sudo():
        return sorted(name.removesuffix(".key") for name in host.file(DIRECTORY).listdir() if name.endswith(".key"))


def test_everybody_may_read_whom_to_trust(host: Any) -> None:
    with host.sudo("nobody"):
        assert "BEGIN CERTIFICATE" in host.file(AUTHORITY).content_string
    assert "CA:TRUE" in host.check_output(f"openssl x509 -in {AUTHORITY} -noout -ext basicConstraints")


def test_keys_are_kept_from_others(host: Any) -> None:
    with host.sudo():
        modes = {
            f"{name}{ending}": host.file(f"{DIRECTORY}/{name}{ending}").mode
            for name in names_of(host)
            for ending in (".key", ".pem")
        }
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o037} == {}


def test_certificates_are_trusted_and_last(host: Any) -> None:
    for name in names_of(host):
        path = f"{DIRECTORY}/{name}.crt"
        assert host.check_output(f"openssl verify -CAfile {AUTHORITY} {path}") == f"{path}: OK"
        assert host.run(f"openssl x509 -in {path} -noout -checkend 2592000").rc == 0, f"{path} ends within 30 days"


def test_certificates_belong_to_their_keys(host: Any) -> None:
    with host.sudo():
        for name in names_of(host):
            key = host.check_output(f"openssl pkey -in {DIRECTORY}/{name}.key -pubout")
            for ending in (".crt", ".pem"):
                assert host.check_output(f"openssl x509 -in {DIRECTORY}/{name}{ending} -noout -pubkey") == key
            assert host.check_output(f"openssl pkey -in {DIRECTORY}/{name}.pem -pubout") == key


def test_no_server_holds_the_authoritys_key(host: Any) -> None:
    with host.sudo():
        authority = host.check_output(f"openssl x509 -in {AUTHORITY} -noout -pubkey")
        for name in names_of(host):
            assert host.check_output(f"openssl pkey -in {DIRECTORY}/{name}.key -pubout") != authority
