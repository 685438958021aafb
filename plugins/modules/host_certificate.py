#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep a server's key and certificate."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_certificate
short_description: Keep a server's key and certificate
version_added: "0.1.0"
description:
  - Makes the server's key (ECDSA P-256), which never leaves it, and says whether the certificate beside it still serves.
    Where it doesn't, the result holds a request that an authority can sign.
  - With O(certificate), puts that certificate in place, once it is sure that it belongs to the key.
  - Keeps C(<name>.key), C(<name>.crt) and, for programs that want both in one file, C(<name>.pem).
author:
  - Nectar Backend maintainers (@nectar)
requirements:
  - openssl (the command)
options:
  name:
    description: Names the files.
    type: str
    required: true
  directory:
    description: Where the files lie.
    type: path
    default: /etc/nectar/tls
  owner:
    description: Owns the files.
    type: str
    default: root
  group:
    description: The files' group.
    type: str
    default: root
  key_mode:
    description: Mode of the files that hold the key, in octal.
    type: str
    default: "0640"
  common_name:
    description: The certificate's common name, by default O(name). An empty text leaves it to the authority.
    type: str
  subject_alt_names:
    description: What the certificate is for, each as C(DNS:<host name>) or C(IP:<address>). Needed without O(certificate).
    type: list
    elements: str
  renew_before:
    description: Days of remaining life below which a new certificate is needed.
    type: int
    default: 30
  authority:
    description: A file of certificates of which one must have signed the server's. Left out, whoever signed it is fine.
    type: path
  certificate:
    description:
      - The certificate to put in place, followed by those that lead to its authority.
      - An empty text stands for a certificate that isn't known yet, which only check mode allows.
    type: str
  private_key:
    description: A key that was made elsewhere, in place of the server's own.
    type: str
attributes:
  check_mode:
    description: Says whether files would change. Where there is no key yet, no request can be made.
    support: full
  diff_mode:
    description: Shows no diff, for the sake of the key.
    support: none
"""

EXAMPLES = r"""
- name: Keep the key, and ask whether the certificate still serves
  nectar.backend.host_certificate:
    name: postgresql
    group: postgres
    subject_alt_names: [DNS:primary.lab.example.org, "IP:192.0.2.7"]
    authority: /etc/nectar/tls/ca.crt
  register: request

- name: Put the certificate in place
  nectar.backend.host_certificate:
    name: postgresql
    group: postgres
    certificate: "{{ signed.certificate }}"
"""

RETURN = r"""
needed:
  description: Whether a new certificate is needed.
  type: bool
  returned: without O(certificate)
  sample: true
reasons:
  description: Why a new certificate is needed.
  type: list
  elements: str
  returned: without O(certificate)
  sample: [it ends in 29 days]
csr:
  description: A request for the certificate that is needed, or an empty text.
  type: str
  returned: without O(certificate)
  sample: "-----BEGIN CERTIFICATE REQUEST-----"
names:
  description: What the certificate is for, in one spelling.
  type: list
  elements: str
  returned: without O(certificate)
  sample: [DNS:db1, "IP:192.0.2.7"]
"""

import grp
import os
import pwd
import stat
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.certificates import (
    Certificate,
    CertificateError,
    Wanted,
    find_reasons,
    parse_certificate,
    parse_wanted,
    render_request_config,
)
from ansible_collections.nectar.backend.plugins.module_utils.text_files import UNCHANGED, read_text, replace_text

DESCRIBE = ("x509", "-noout", "-subject", "-nameopt", "RFC2253", "-enddate", "-ext", "subjectAltName", "-pubkey")

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "path", "default": "/etc/nectar/tls"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "key_mode": {"type": "str", "default": "0640", "no_log": False},
    "common_name": {"type": "str"},
    "subject_alt_names": {"type": "list", "elements": "str"},
    "renew_before": {"type": "int", "default": 30},
    "authority": {"type": "path"},
    "certificate": {"type": "str"},
    "private_key": {"type": "str", "no_log": True},
}


@dataclass(frozen=True)
class Files:
    """Where the key and the certificate lie, and whose they are."""

    key: str
    certificate: str
    bundle: str
    owner: tuple[int, int]
    key_mode: int


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_one_of=[("certificate", "subject_alt_names")]
    )
    try:
        files = find_files(module)
        changed = keep_key(module, files)
        if module.params["certificate"] is not None:
            changed |= keep_certificate(module, files)
            module.exit_json(changed=changed)
        changed |= keep_owner(module, files)
        module.exit_json(changed=changed, **judge(module, files))
    except (CertificateError, OSError) as error:
        module.fail_json(msg=f"Certificate {module.params['name']}: {error}")


def find_files(module: AnsibleModule) -> Files:
    """Say where the files lie and whose they are to be."""
    params = module.params
    stem = os.path.join(params["directory"], params["name"])
    try:
        mode = int(params["key_mode"], 8)
    except ValueError:
        raise CertificateError(f"key_mode: {params['key_mode']!r} is no octal mode") from None
    return Files(f"{stem}.key", f"{stem}.crt", f"{stem}.pem", find_owner(module), mode)


def find_owner(module: AnsibleModule) -> tuple[int, int]:
    """Return the ids of owner and group; in check mode, what brings them may not be installed yet."""
    owner, group = module.params["owner"], module.params["group"]
    try:
        return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as error:
        if module.check_mode:
            return UNCHANGED, UNCHANGED
        raise CertificateError(
            f"owner {owner} or group {group} is missing on this host; install what uses the certificate first"
        ) from error


def openssl(module: AnsibleModule, *arguments: str, data: str | None = None) -> str:
    """Run openssl and return what it prints."""
    command = module.get_bin_path("openssl")
    if command is None:
        raise CertificateError("openssl is missing; install the package openssl")
    code, out, error = module.run_command([command, *arguments], data=data)
    if code != 0:
        raise CertificateError(f"openssl {arguments[0]} failed: {error.strip()}")
    return str(out)


def keep_key(module: AnsibleModule, files: Files) -> bool:
    """Make the key where there is none, or put the given one in place."""
    present, given = read_text(files.key), module.params["private_key"]
    if (given is None and present is not None) or (given is not None and given == present):
        return False
    if not module.check_mode:
        key = given or openssl(module, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        os.makedirs(os.path.dirname(files.key), 0o755, exist_ok=True)
        replace_text(files.key, key, files.key_mode, files.owner)
    return True


def keep_certificate(module: AnsibleModule, files: Files) -> bool:
    """Put the certificate in place, alone and beside the key."""
    certificate = module.params["certificate"].strip()
    key = read_text(files.key) if module.params["private_key"] is None else module.params["private_key"]
    if module.check_mode and (not certificate or key is None):
        return True
    if describe(module, certificate).public_key != public_key(module, key or "").strip():
        raise CertificateError("the certificate given belongs to another key")
    wanted = {files.certificate: f"{certificate}\n", files.bundle: f"{certificate}\n{key}"}
    stale = [path for path, text in wanted.items() if read_text(path) != text]
    if not module.check_mode:
        for path in stale:
            replace_text(path, wanted[path], 0o644 if path == files.certificate else files.key_mode, files.owner)
    return keep_owner(module, files) or bool(stale)


def keep_owner(module: AnsibleModule, files: Files) -> bool:
    """Give the files to their owner, with the mode they should have."""
    changed = False
    for path in (files.key, files.certificate, files.bundle):
        mode = 0o644 if path == files.certificate else files.key_mode
        if not os.path.exists(path) or has_owner(path, files.owner, mode):
            continue
        changed = True
        if not module.check_mode:
            os.chown(path, *files.owner)
            os.chmod(path, mode)
    return changed


def has_owner(path: str, owner: tuple[int, int], mode: int) -> bool:
    """Say whether the file has this owner, group and mode."""
    status = os.stat(path)
    return (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (*owner, mode)


def judge(module: AnsibleModule, files: Files) -> dict[str, Any]:
    """Say whether a new certificate is needed, and request it."""
    params = module.params
    common_name = params["common_name"]
    wanted = parse_wanted(
        params["name"] if common_name is None else common_name, params["subject_alt_names"], params["renew_before"]
    )
    key = read_text(files.key)
    if key is None:
        # Check mode on a bare host.
        return {"needed": True, "reasons": ["there is no key"], "csr": "", "names": wanted.names}
    reasons = find_reasons(
        read_certificate(module, files, key), wanted, public_key(module, key), time.time(), is_trusted(module, files)
    )
    csr = request(module, files, wanted) if reasons else ""
    return {"needed": bool(reasons), "reasons": reasons, "csr": csr, "names": wanted.names}


def read_certificate(module: AnsibleModule, files: Files, key: str) -> Certificate | None:
    """Read the certificate in place; a broken one is as good as none, and so is one that is in one file only."""
    text = read_text(files.certificate)
    if not text or read_text(files.bundle) != text + key:
        return None
    try:
        return describe(module, text)
    except CertificateError:
        return None


def describe(module: AnsibleModule, certificate: str) -> Certificate:
    """Read a certificate."""
    return parse_certificate(openssl(module, *DESCRIBE, data=certificate))


def public_key(module: AnsibleModule, key: str) -> str:
    """Return the public half of a key."""
    return openssl(module, "pkey", "-pubout", data=key)


def is_trusted(module: AnsibleModule, files: Files) -> bool:
    """Say whether the authority signed the certificate, however long it lasts."""
    authority = module.params["authority"]
    if authority is None or not os.path.exists(files.certificate):
        return True
    if not os.path.exists(authority):
        return False
    try:
        openssl(module, "verify", "-no_check_time", "-CAfile", authority, files.certificate)
    except CertificateError:
        return False
    return True


def request(module: AnsibleModule, files: Files, wanted: Wanted) -> str:
    """Make a request for the certificate that is wanted."""
    with tempfile.NamedTemporaryFile("w", suffix=".cnf", encoding="utf-8") as config:
        config.write(render_request_config(wanted))
        config.flush()
        subject = f"/CN={wanted.common_name}" if wanted.common_name else "/"
        return openssl(module, "req", "-new", "-key", files.key, "-subj", subject, "-config", config.name)


if __name__ == "__main__":
    main()
