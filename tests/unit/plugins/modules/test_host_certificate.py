# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server's key and certificate, with openssl as the authority."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.modules import host_certificate

NAMES = ["DNS:db1.nectar.test", "IP:192.0.2.7"]


def openssl(*arguments: str, data: str | None = None) -> str:
    """Run openssl and return what it prints."""
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True, text=True).stdout


class Server:
    """A server and the authority that it trusts, each in a folder."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.tls, self.authority, self.capsys = place / "tls", place / "ca.crt", capsys
        self.make_authority()

    def make_authority(self) -> None:
        """Make an authority; a second one takes the first one's place."""
        self.authority_key = self.authority.with_suffix(".key")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(self.authority_key))
        openssl("req", "-x509", *key, "-subj", "/CN=authority", "-days", "10", "-out", str(self.authority))

    def run(self, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module as Ansible would."""
        arguments = {
            "name": "db",
            "directory": str(self.tls),
            "owner": pwd.getpwuid(os.getuid()).pw_name,
            "group": grp.getgrgid(os.getgid()).gr_name,
            "authority": str(self.authority),
            "_ansible_check_mode": check,
            **options,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            host_certificate.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def ask(self, check: bool = False, **options: Any) -> dict[str, Any]:
        """Ask whether the certificate still serves."""
        return self.run(check, **{"subject_alt_names": NAMES, "renew_before": 30, **options})

    def sign(self, csr: str, days: int = 90) -> str:
        """Sign a request as the authority."""
        signer = ("-CA", str(self.authority), "-CAkey", str(self.authority_key), "-CAcreateserial")
        return openssl("x509", "-req", *signer, "-copy_extensions", "copy", "-days", str(days), data=csr)

    def provision(self, days: int = 90) -> None:
        """Have a certificate in place."""
        self.run(certificate=self.sign(self.ask()["csr"], days))

    def files(self) -> dict[str, str]:
        """Return the files and what is in them."""
        return {path.name: path.read_text() for path in self.tls.iterdir()}


@pytest.fixture
def server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Server:
    return Server(tmp_path, capsys)


def test_four_runs_of_asking(server: Server) -> None:
    foreseen = server.ask(check=True)
    assert (foreseen["changed"], foreseen["needed"], foreseen["csr"]) == (True, True, "")
    assert not server.tls.exists()

    first = server.ask()
    assert (first["changed"], first["needed"], first["reasons"]) == (True, True, ["there is none"])
    assert "BEGIN CERTIFICATE REQUEST" in first["csr"]

    again = server.ask()
    assert (again["changed"], again["needed"]) == (False, True)
    assert server.ask(check=True)["changed"] is False


def test_four_runs_of_putting_in_place(server: Server) -> None:
    assert server.run(check=True, certificate="")["changed"] is True
    certificate = server.sign(server.ask()["csr"])

    assert server.run(check=True, certificate=certificate)["changed"] is True
    assert sorted(server.files()) == ["db.key"]
    assert server.run(certificate=certificate)["changed"] is True
    assert server.run(certificate=certificate)["changed"] is False
    assert server.run(check=True, certificate=certificate)["changed"] is False

    files = server.files()
    assert files["db.pem"] == files["db.crt"] + files["db.key"]
    served = server.ask()
    assert (served["changed"], served["needed"], served["csr"]) == (False, False, "")


def test_the_request_is_for_a_server_and_nothing_more(server: Server) -> None:
    shown = openssl("req", "-noout", "-text", data=server.ask()["csr"])
    for text in ("DNS:db1.nectar.test, IP Address:192.0.2.7", "CA:FALSE", "Digital Signature", "ASN1 OID: prime256v1"):
        assert text in shown


@pytest.mark.parametrize(
    ("owner", "modes"),
    [
        pytest.param({}, {"db.key": 0o640, "db.pem": 0o640, "db.crt": 0o644}, id="for a group"),
        pytest.param({"key_mode": "0600"}, {"db.key": 0o600, "db.pem": 0o600, "db.crt": 0o644}, id="for one account"),
    ],
)
def test_modes_are_set_and_mended(server: Server, owner: dict[str, str], modes: dict[str, int]) -> None:
    server.provision()
    for path in server.tls.iterdir():
        path.chmod(0o666)
    assert server.ask(check=True, **owner)["changed"] is True
    assert server.ask(**owner)["changed"] is True
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in server.tls.iterdir()} == modes
    assert server.ask(**owner)["changed"] is False


@pytest.mark.parametrize(
    ("options", "reasons"),
    [
        pytest.param({}, [], id="serves"),
        pytest.param({"renew_before": 89}, [], id="enough life"),
        pytest.param({"renew_before": 91}, ["it ends in 89 days"], id="too little life"),
        pytest.param(
            {"subject_alt_names": ["DNS:db2"]},
            ["it is for db DNS:db1.nectar.test IP:192.0.2.7, not for db DNS:db2"],
            id="other names",
        ),
        pytest.param({"subject_alt_names": NAMES[::-1]}, [], id="names in another order"),
        pytest.param({"common_name": ""}, [], id="any common name"),
    ],
)
def test_when_a_certificate_serves(server: Server, options: dict[str, Any], reasons: list[str]) -> None:
    server.provision()
    result = server.ask(**options)
    assert (result["reasons"], result["needed"], bool(result["csr"])) == (reasons, bool(reasons), bool(reasons))


def test_a_new_authority_means_a_new_certificate(server: Server) -> None:
    server.provision()
    server.make_authority()
    assert server.ask()["reasons"] == ["the environment's authority did not sign it"]


@pytest.mark.parametrize("ending", ["crt", "pem"])
def test_a_broken_file_is_replaced(server: Server, ending: str) -> None:
    server.provision()
    (server.tls / f"db.{ending}").write_text("half a certif")
    assert server.ask()["reasons"] == ["there is none"]


def test_a_certificate_for_another_key_is_refused(server: Server) -> None:
    certificate = server.sign(server.ask()["csr"])
    server.provision()
    (server.tls / "db.key").write_text(openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))
    result = server.run(certificate=certificate)
    assert result["msg"] == "Certificate db: the certificate given belongs to another key"
    assert server.ask()["needed"] is True


def test_a_key_from_elsewhere_is_put_in_place(server: Server) -> None:
    key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    csr = openssl("req", "-new", "-key", "/dev/stdin", "-subj", "/CN=shop", data=key)
    given = {"certificate": server.sign(csr), "private_key": key}
    runs = [server.run(check, **given)["changed"] for check in (True, False, False, True)]
    assert runs == [True, True, False, False]
    assert server.files()["db.key"] == key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"subject_alt_names": []}, "subject_alt_names: the list is empty", id="no names"),
        pytest.param({"owner": "nobody-of-this-name"}, "owner nobody-of-this-name or group", id="no owner"),
        pytest.param({"key_mode": "rw"}, "key_mode: 'rw' is no octal mode", id="no mode"),
    ],
)
def test_what_is_refused(server: Server, options: dict[str, Any], message: str) -> None:
    result = server.ask(**options)
    assert result["failed"] is True
    assert result["msg"].startswith(f"Certificate db: {message}")


def test_check_mode_comes_before_the_package_that_brings_the_owner(server: Server) -> None:
    result = server.ask(check=True, owner="nobody-of-this-name")
    assert (result["changed"], result["needed"]) == (True, True)


def test_no_key_leaves_the_module(server: Server) -> None:
    results = [server.ask(), server.ask(subject_alt_names=["DNS:x"])]
    secret = server.files()["db.key"].splitlines()[1]
    assert secret not in json.dumps(results)
