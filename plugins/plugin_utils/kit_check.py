# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connect with everything in a connection kit, and say what works.

It reads the very files that a member uses: SSH's configuration, the names, the environment, the database's service. It runs alone, on any
Python from 3.9, and is a part of the kit, so that a member can ask again at any time.
"""

from __future__ import annotations

import argparse
import configparser
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

TIMEOUT = 60.0  # seconds for each connection: a jump takes two logins, and a busy machine its time
AT_ONCE = 4
IDENTITY_PATH = "/.well-known/nectar"
# What a load balancer answers for a deployment without a release, or whose release isn't up.
UNSERVED = (421, 503)
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


@dataclass(frozen=True)
class Result:
    """What came of one attempt; `ok` is None where nothing was tried."""

    what: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True)
class Way:
    """One entry of SSH's configuration."""

    alias: str
    jump: str = ""
    forward: tuple[str, str] = ("", "")  # here, there


@dataclass
class Name:
    """A name at which a deployment is served, and where."""

    name: str
    deployment: str
    addresses: list[str] = field(default_factory=list)


def read_ways(text: str) -> list[Way]:
    """The entries that stand for one server each."""
    ways: list[Way] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["Host"]:
            ways.append(Way(words[1] if len(words) == 2 else ""))
        elif words[:1] == ["ProxyJump"]:
            ways[-1] = Way(ways[-1].alias, jump=words[1])
        elif words[:1] == ["LocalForward"]:
            ways[-1] = Way(ways[-1].alias, forward=(words[1], words[2]))
    return [way for way in ways if way.alias]


def read_names(text: str) -> list[Name]:
    """The lines of the file of hosts, by name; the deployment stands behind the name."""
    names: dict[str, Name] = {}
    for line in text.splitlines():
        entry, _mark, deployment = line.partition("#")
        words = entry.split()
        if len(words) == 2:
            names.setdefault(words[1], Name(words[1], deployment.strip())).addresses.append(words[0])
    return list(names.values())


def judge_ssh(code: int, errors: str, *, logs_in: bool) -> Result:
    """What ssh's end tells; a server whose key is wrong is left before anybody logs in."""
    reason = (errors.strip().splitlines() or [f"ssh ended with {code}"])[0]
    if code == 0:
        return Result("", True)
    if not logs_in and "Permission denied" in errors:
        return Result("", True, "the host key is right; nobody logged in")
    if "Host key verification failed" in errors:
        return Result("", False, "another server answers: its host key is not the registry's")
    return Result("", False, reason)


def judge_https(status: int, body: bytes, deployment: str) -> Result:
    """What a deployment's identity tells, once its certificate was right."""
    if status in UNSERVED:
        return Result("", None, f"the certificate is right, and nothing is served yet ({status})")
    if status != http.client.OK:
        return Result("", False, f"answers {status} instead of 200")
    try:
        found = json.loads(body)["deployment"]
    except (ValueError, KeyError, TypeError):
        return Result("", False, f"{IDENTITY_PATH} names no deployment")
    return Result("", found == deployment, "" if found == deployment else f"is {found}, not {deployment}")


def best(results: Sequence[tuple[str, Result]], what: str) -> Result:
    """A name is fine when one of its addresses is; the others are told."""
    chosen = max((result for _address, result in results), key=lambda result: (result.ok is True, result.ok is None))
    silent = [f"{address}: {result.detail}" for address, result in results if result.ok is False]
    return Result(what, chosen.ok, "; ".join(silent) if silent else chosen.detail)


def show(results: Sequence[Result]) -> str:
    width = max(len(result.what) for result in results)
    words = {True: "ok    ", False: "FAILED", None: "open  "}
    return "\n".join(f"{words[result.ok]} {result.what:{width}}  {result.detail}".rstrip() for result in results)


class Kit:
    """A kit's folder, and how to connect with it."""

    def __init__(self, folder: str, private_key: str, settings: str, *, logs_in: bool) -> None:
        self.folder = folder
        self.logs_in = logs_in
        self.environment = {**os.environ, "NECTAR_KIT": folder}
        self.settings = settings
        key = [f"IdentityFile {private_key}", "IdentitiesOnly yes"] if private_key else []
        nobody = [] if logs_in else ["PreferredAuthentications none"]
        lines = [
            "Host *",
            "BatchMode yes",
            "ConnectTimeout 30",
            *key,
            *nobody,
            "Host *",
            f"Include {folder}/ssh_config",
        ]
        # A file, since options of the command line don't reach the ssh of a jump.
        with open(settings, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def read(self, name: str) -> str:
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read()

    def command(self, *words: str) -> list[str]:
        """A command in the kit's own environment."""
        return ["sh", "-c", '. "$NECTAR_KIT/environment.sh" && exec "$@"', "sh", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def check(self) -> list[Result]:
        ways = read_ways(self.read("ssh_config"))
        names = read_names(self.read("hosts"))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = [pool.submit(self.check_ssh, way) for way in ways if not way.forward[0]]
            found += [pool.submit(self.check_https, name) for name in names]
            found += [pool.submit(self.check_database, way) for way in ways if way.forward[0]]
            return [future.result() for future in found]

    def check_ssh(self, way: Way) -> Result:
        what = f"ssh {way.alias}"
        if way.jump and not self.logs_in:
            return Result(what, None, f"needs a login on {way.jump}")
        try:
            done = self.run("ssh", "-F", self.settings, way.alias, "true")
        except subprocess.TimeoutExpired:
            return Result(what, False, f"no answer in {TIMEOUT:.0f} s")
        judged = judge_ssh(done.returncode, done.stderr, logs_in=self.logs_in)
        return Result(what, judged.ok, judged.detail)

    def check_https(self, name: Name) -> Result:
        return best([(address, self._ask(address, name)) for address in name.addresses], f"https://{name.name}/")

    def _ask(self, address: str, name: Name) -> Result:
        connection = http.client.HTTPConnection(name.name, timeout=TIMEOUT)
        try:
            plain = socket.create_connection((address, 443), TIMEOUT)
            connection.sock = self.trust().wrap_socket(plain, server_hostname=name.name)
            connection.request("GET", IDENTITY_PATH)
            response = connection.getresponse()
            return judge_https(response.status, response.read(), name.deployment)
        except (OSError, http.client.HTTPException) as error:
            return Result("", False, str(error))
        finally:
            connection.close()

    def trust(self) -> ssl.SSLContext:
        """The environment's authority, and those that this machine trusts anyway."""
        context = ssl.create_default_context()
        context.load_verify_locations(os.path.join(self.folder, "ca.crt"))
        return context

    def check_database(self, way: Way) -> Result:
        service = configparser.ConfigParser()
        service.read_string(self.read("pg_service.conf"))
        (name,) = service.sections()
        what = f"database {service[name]['dbname']}"
        if not self.logs_in:
            return Result(what, None, f"needs a login through {way.alias}")
        try:
            with self.forward(way) as port:
                return self._query(what, name, port, service[name]["host"])
        except (OSError, subprocess.TimeoutExpired) as error:
            return Result(what, False, str(error))

    @contextmanager
    def forward(self, way: Way) -> Iterator[int]:
        """The way to the primary on this machine: the kit's own port, or another one where somebody uses that."""
        port = own = int(way.forward[0].rpartition(":")[2])
        extra: list[str] = []
        if not is_free(own):
            port = free_port()
            extra = ["-o", "ExitOnForwardFailure=no", "-L", f"127.0.0.1:{port}:{way.forward[1]}"]
        command = self.command("ssh", "-F", self.settings, "-N", *extra, way.alias)
        with subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                self._wait(process, port)
                yield port
            finally:
                process.terminate()

    def _wait(self, process: subprocess.Popen[str], port: int) -> None:
        deadline = time.monotonic() + TIMEOUT
        while is_free(port):
            if process.poll() is not None:
                errors = process.stderr.read() if process.stderr else ""
                raise OSError(judge_ssh(process.returncode, errors, logs_in=True).detail)
            if time.monotonic() > deadline:
                raise OSError(f"the forward to the database is not up after {TIMEOUT:.0f} s")
            time.sleep(0.1)

    def _query(self, what: str, service: str, port: int, name: str) -> Result:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as plain:
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                return Result(what, False, "the server at the other end offers no TLS")
            self.trust().wrap_socket(plain, server_hostname=name).close()
        if not shutil.which("psql"):
            return Result(what, None, "the certificate is right; to try the login, install psql (postgresql-client)")
        query = "select case when pg_is_in_recovery() then 'replica' else 'primary' end"
        done = self.run("psql", f"service={service} port={port} connect_timeout=10", "-XAtc", query)
        role = done.stdout.strip()
        if done.returncode == 0:
            return Result(what, role == "primary", "" if role == "primary" else f"is a {role}, not the primary")
        return Result(what, False, " ".join(done.stderr.split()))


def is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return attempt.connect_ex(("127.0.0.1", port)) != 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="check", description="Connect with everything in this kit.")
    parser.add_argument("kit", help=argparse.SUPPRESS)
    parser.add_argument("--private-key", default="", help="log in with this key instead of your own ones")
    parser.add_argument("--no-login", action="store_true", help="look at host keys alone, for whoever isn't the member")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nectar-kit-") as folder:
        settings = os.path.join(folder, "ssh_config")
        kit = Kit(os.path.abspath(options.kit), options.private_key, settings, logs_in=not options.no_login)
        results = kit.check()
    print(show(results))
    failed = [result for result in results if result.ok is False]
    print(f"{len(results) - len(failed)} of {len(results)} without a failure.")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
