#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put a restored cluster in the place of the one that was."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_takeover
short_description: Put a restored cluster in the place of the one that was
version_added: "0.1.0"
description:
  - Moves the stopped scratch cluster of M(nectar.backend.backup_restore) to where Patroni's cluster was, and has Patroni forget what it knew of that.
  - Patroni and PostgreSQL must be stopped on every member. Data and log that were replaced stay beside, as C(<folder>.replaced), until a person
    removes them; moving them back is the way back.
  - What fails before etcd is told moves everything back.
options:
  source:
    description: Folder of the scratch cluster.
    type: path
    required: true
  data_directory:
    description: Folder of the living cluster's data, on the same filesystem.
    type: path
    required: true
  wal_directory:
    description: Folder of its write-ahead log.
    type: path
    required: true
  scope:
    description: Name of the cluster in etcd.
    type: str
    required: true
  namespace:
    description: What stands before it in etcd's keys.
    type: str
    default: nectar
  etcd_addresses:
    description: Addresses of etcd's members, of which the first that answers is asked.
    type: list
    elements: str
    default: ["127.0.0.1"]
  etcd_port:
    description: Port of etcd's clients.
    type: int
    default: 2379
  etcd_ca_file:
    description: Path of the CA certificate that etcd's certificates are checked with.
    type: path
    default: /etc/nectar/tls/ca.crt
  etcd_cert_file:
    description: Path of the certificate to show.
    type: path
    default: /etc/nectar/tls/etcd.crt
  etcd_key_file:
    description: Path of its key.
    type: path
    default: /etc/nectar/tls/etcd.key
  etcd_timeout:
    description: Seconds to wait for an answer of etcd.
    type: float
    default: 4.0
author: Nectar Backend maintainers (@nectar)
attributes:
  check_mode:
    description: Refuses what can't be, and moves nothing.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Put the restored cluster in the place of the one that was
  nectar.backend.backup_takeover:
    source: /var/lib/postgresql/scratch/restore
    data_directory: /var/lib/postgresql/17/main
    wal_directory: /var/lib/postgresql-wal/17/main
    scope: lab
"""

RETURN = r"""
replaced:
  description: Where data and log are that were replaced.
  type: list
  elements: str
  returned: success
  sample: [/var/lib/postgresql/17/main.replaced, /var/lib/postgresql-wal/17/main.replaced]
"""

import os
import shutil
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils import backups, etcd_store, takeover
from ansible_collections.nectar.backend.plugins.module_utils.backups import BackupsError
from ansible_collections.nectar.backend.plugins.module_utils.etcd_store import Store, StoreError, Transaction
from ansible_collections.nectar.backend.plugins.module_utils.pgbackrest import free_bytes

ARGUMENT_SPEC: dict[str, Any] = {
    "source": {"type": "path", "required": True},
    "data_directory": {"type": "path", "required": True},
    "wal_directory": {"type": "path", "required": True},
    "scope": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "nectar"},
    **etcd_store.ARGUMENTS,
}
SUFFIX = ".replaced"
LOG = "pg_wal"


def main() -> None:
    """Refuse, move, and have it forgotten."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    data, log, source = params["data_directory"], params["wal_directory"], os.path.join(params["source"], "data")
    try:
        refuse(data, log, source)
        if not module.check_mode:
            orders = takeover.forget_orders(params["namespace"], params["scope"])
            store = Store.from_arguments(params)
            move(data, log, source, lambda: store.commit(Transaction(success=orders)))
            shutil.rmtree(params["source"])
    except (BackupsError, StoreError, OSError) as error:
        module.fail_json(msg=f"Cannot put {source} in the place of {data}: {error}")
    module.exit_json(changed=True, replaced=[data + SUFFIX, log + SUFFIX])


def refuse(data: str, log: str, source: str) -> None:
    """Refuse what runs, what is there from before, and a log that has no room."""
    for folder in (data, source):
        if os.path.exists(os.path.join(folder, "postmaster.pid")):
            raise BackupsError(f"a server runs in {folder}; stop it first")
    if not os.path.isfile(os.path.join(source, "PG_VERSION")):
        raise BackupsError(f"{source} holds no restored cluster")
    for folder in (data, log):
        if os.path.lexists(folder + SUFFIX):
            raise BackupsError(
                f"{folder}{SUFFIX} is there already, from a former restore; once nobody needs it, remove it"
            )
    need, free = size_of(os.path.join(source, LOG)), free_bytes(os.path.dirname(log))
    if free < need:
        raise BackupsError(
            f"{log}: {backups.mebibytes(free)} are free, and the restored log takes {backups.mebibytes(need)}"
        )


def size_of(folder: str) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())


def move(data: str, log: str, source: str, then: Callable[[], object]) -> None:
    """Give the restored cluster its log's folder, let it change places with the former one, and tell others; or move all of it back."""
    draft = f"{log}.new"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(os.path.join(source, LOG), draft)
    owner = os.stat(os.path.join(source, "PG_VERSION"))
    settle(source, draft, owner)
    moved: list[tuple[str, str]] = []
    try:
        for before, after in ((data, data + SUFFIX), (log, log + SUFFIX), (draft, log), (source, data)):
            if os.path.lexists(before):
                os.rename(before, after)
                moved.append((after, before))
        point(data + SUFFIX, log + SUFFIX, owner)
        point(data, log, owner)
        then()
    except (OSError, StoreError):
        for after, before in reversed(moved):
            os.rename(after, before)
        point(data, log, owner)
        raise


def point(data: str, log: str, owner: os.stat_result) -> None:
    """Let the data's link lead to its log; a folder of its own was copied there before."""
    path = os.path.join(data, LOG)
    if not os.path.isdir(data):
        return
    if os.path.islink(path):
        os.unlink(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)
    os.symlink(log, path)
    os.lchown(path, owner.st_uid, owner.st_gid)


def settle(source: str, draft: str, owner: os.stat_result) -> None:
    """Take the recovery's settings out, and have the archive get the new timeline's history."""
    settings = os.path.join(source, "postgresql.auto.conf")
    with open(settings, encoding="utf-8") as stream:
        text = stream.read()
    with open(settings, "w", encoding="utf-8") as stream:
        stream.write(takeover.without_recovery(text))
    status = os.path.join(draft, "archive_status")
    os.makedirs(status, 0o700, exist_ok=True)
    for name in takeover.unarchived_histories(os.listdir(draft), os.listdir(status)):
        with open(os.path.join(status, f"{name}.ready"), "w", encoding="utf-8"):
            pass
    for folder, _folders, files in os.walk(draft):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.chown(path, owner.st_uid, owner.st_gid)


if __name__ == "__main__":
    main()
