# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bundles from a cache, releases from archives, and plans from both."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nectar.backend.plugins.module_utils.release_files import pack_tree, write_manifest
from ansible_collections.nectar.backend.plugins.modules import (
    deployment_plan,
    release_build,
    release_bundle,
    release_install,
)

TARGET = {"debian": "13", "machine": "x86_64"}
LIMITS = {"memory_max": 192, "tasks_max": 64, "stop_timeout": 30, "migrate_timeout": 900}


class Controller:
    """A controller whose cache holds the wheels that a lock names."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.cache, self.source = capsys, place / "cache", place / "source"
        wheels = self.cache / "wheels" / "cp313-x86_64"
        wheels.mkdir(parents=True)
        self.source.mkdir()
        (self.source / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "app"\n'
        )
        lock = ""
        for name, marker in (("flask", ""), ("setuptools", ""), ("tomli", ' ; python_version < "3.11"')):
            content = f"wheel of {name}".encode()
            if not marker:
                (wheels / f"{name}-1.0-py3-none-any.whl").write_bytes(content)
            lock += f"{name}==1.0{marker} --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"
        self.lock = place / "requirements.txt"
        self.lock.write_text(lock)

    def run(self, module: Any, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module as Ansible would."""
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        return dict(json.loads(self.capsys.readouterr().out))

    def bundle(self, check: bool = False) -> dict[str, Any]:
        """Gather what a build takes."""
        release = {"release": "app-1", "source": {"directory": str(self.source)}, "lock": str(self.lock)}
        return self.run(release_bundle, check, releases=[release], target=TARGET, cache_directory=str(self.cache))

    def plan(self, **changes: Any) -> dict[str, Any]:
        """Plan a deploy of one deployment."""
        deployment = {
            "name": "production",
            "application": "app",
            "user": "nb-production",
            "server_name": "production.nectar.test",
            "url": "https://production.nectar.test/",
            "ports": {"blue": 10002, "green": 10003},
            "hosts": ["app1", "app2"],
            "database": "production",
            "database_role": "production",
        }
        application = {
            "source": {"directory": str(self.source)},
            "lock": str(self.lock),
            "processes": {"web": {"type": "web", "command": "serve {port}"}},
            "environment": {"DB": "{database_password}"},
        }
        given = {
            "deployments": {"production": deployment},
            "applications": {"app": application},
            "addresses": {"app1": "192.0.2.21"},
            "states": {"app1": {**TARGET, "records": {}, "serves": {}, "releases": []}},
            "secrets": {"production": {"database_password": "s3cret-of-production"}},
            "pooler": {"host": "127.0.0.1", "port": 6432},
            "direct": {"host": "primary.test", "port": 5433},
            "limits": LIMITS,
            "cache_directory": str(self.cache),
            **changes,
        }
        return self.run(deployment_plan, **given)


@pytest.fixture
def controller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Controller:
    """A controller that has fetched everything before."""
    return Controller(tmp_path, capsys)


def test_a_bundle_holds_what_the_target_needs(controller: Controller) -> None:
    assert controller.bundle(check=True)["changed"] is True
    assert not (controller.cache / "bundles").exists()
    made = controller.bundle()["bundles"]["app-1"]
    with tarfile.open(made["path"]) as archive:
        assert sorted(archive.getnames()) == [
            "install.txt",
            "source/pyproject.toml",
            "wheels/flask-1.0-py3-none-any.whl",
            "wheels/setuptools-1.0-py3-none-any.whl",
        ]
        installed = archive.extractfile("install.txt")
        assert installed is not None
        assert installed.read().startswith(b"flask==1.0 --hash=sha256:")


def test_a_plan_says_nothing_secret(controller: Controller) -> None:
    plan = controller.plan()
    assert plan["waves"] == [["production"]]
    assert plan["releases"][0]["built"] is False
    assert "s3cret" not in json.dumps(plan)


def test_a_secret_makes_another_revision_of_the_same_release(controller: Controller) -> None:
    first = controller.plan()["steps"]["production"]
    other = controller.plan(secrets={"production": {"database_password": "another"}})["steps"]["production"]
    assert first["release"] == other["release"]
    assert first["revision"] != other["revision"]


def test_backups_change_what_a_migration_is_asked_and_no_revision(controller: Controller) -> None:
    without, having = (controller.plan(backups=backups)["steps"]["production"] for backups in (False, True))
    assert "database" not in without["migration"]["gates"]
    assert "database" in having["migration"]["gates"]
    assert without["revision"] == having["revision"]


def test_everything_wrong_is_said_at_once(controller: Controller) -> None:
    controller.lock.write_text("flask>=1\n")
    said = controller.plan(secrets={})["msg"]
    assert "secrets database_password are missing under deployments.production" in said
    assert "'flask>=1' is not of the form" in said


ADDRESSES = {"app1": "192.0.2.21", "app2": "192.0.2.22"}
BARE = {**TARGET, "records": {}, "serves": {}, "releases": []}


def replaced(controller: Controller, change: str = "", **changes: Any) -> dict[str, Any]:
    """Plan for a bare app2 beside an app1 that serves, whose record differs from the registry in one field."""
    step = controller.plan(addresses=ADDRESSES, states=dict.fromkeys(ADDRESSES, BARE))["steps"]["production"]
    content = {key: step[key] for key in ("release", "revision", "server_name", "ready_path")}
    if change:
        content[change] = "app-0" if change == "release" else "before"
    record = {"deployment": "production", "active": "blue", "generation": 3, "promoted": None}
    serving = {
        **BARE,
        "records": {"production": {**record, "slots": {"blue": content}}},
        "serves": {"production": True},
    }
    return controller.plan(addresses=ADDRESSES, states={"app1": serving, "app2": BARE}, catch_up=True, **changes)


def test_a_replaced_server_gets_what_the_others_serve(controller: Controller) -> None:
    plan = replaced(controller)
    step = plan["steps"]["production"]
    assert (step["hosts"], step["slot"], step["generation"], step["switches"]) == (["app2"], "blue", 3, False)
    assert (plan["waves"], plan["releases"][0]["hosts"], plan["outdated"]) == ([["production"]], ["app2"], {})


@pytest.mark.parametrize("change", ["revision", "release"])
def test_what_cannot_be_made_anew_waits_for_a_deploy(controller: Controller, change: str) -> None:
    plan = replaced(controller, change)
    assert (plan["waves"], plan["releases"], plan["outdated"]) == ([], [], {"production": ["app2"]})


def test_bare_servers_have_nothing_to_catch_up_with(controller: Controller) -> None:
    controller.lock.write_text("not even read\n")
    plan = controller.plan(addresses=ADDRESSES, states=dict.fromkeys(ADDRESSES, BARE), catch_up=True)
    assert (plan["waves"], plan["steps"], plan["outdated"]) == ([], {}, {})


def test_a_rollback_needs_to_know_whose(controller: Controller) -> None:
    said = controller.plan(addresses=ADDRESSES, states=dict.fromkeys(ADDRESSES, BARE), rollback=True)["msg"]
    assert "name deployments, as in -e deployment=production" in said


def test_a_rollback_takes_what_the_other_slot_holds_unless_it_is_bad(controller: Controller) -> None:
    content = {"release": "app-0", "revision": "before", "server_name": "p.example", "ready_path": "/"}
    slots = {"blue": {**content, "release": "app-1", "revision": "now"}, "green": content}
    record = {"deployment": "production", "active": "blue", "generation": 3, "promoted": None, "slots": slots}
    record["past"] = [content]
    serving = {**BARE, "records": {"production": record}, "serves": {"production": True}, "releases": ["app-0"]}
    given = {
        "addresses": ADDRESSES,
        "states": dict.fromkeys(ADDRESSES, serving),
        "names": ["production"],
        "rollback": True,
    }
    plan = controller.plan(**given, bad={})
    step = plan["steps"]["production"]
    assert (step["revision"], step["slot"], step["generation"]) == ("before", "green", 4)
    assert plan["lines"][0] == "production: back to revision before, which slot green still holds"
    bad = {"production": {"before": "5 % errors"}}
    assert "was marked bad (5 % errors)" in controller.plan(**given, bad=bad)["msg"]
    assert controller.plan(**given, bad=bad, revision="before")["waves"] == [["production"]]
    # Where etcd is silent, the servers' own copies tell.
    assert "no server has a copy" in controller.plan(**given)["lines"][0]
    mark = {"release": "app-0", "reason": "5 % errors"}
    serving["outcomes"] = {"production": {"at": "2026-01-31T10:00:00Z", "bad": {"before": mark}}}
    said = controller.plan(**given)["msg"]
    assert "the copy on app1, of 2026-01-31T10:00:00Z" in said and "was marked bad (5 % errors)" in said
    # What etcd was not told, for the lease was lost meanwhile, they tell too.
    assert "was marked bad (5 % errors)" in controller.plan(**given, bad={})["msg"]


def git(folder: Path, *words: str) -> str:
    """Run git as somebody, untouched by the settings of whoever runs the tests."""
    person = [word for key in ("user.name", "user.email") for word in ("-c", f"{key}=alice")]
    settings = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *person, *words], cwd=folder, env=settings, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, controller: Controller) -> Path:
    """A repository whose tag v1 and branch main differ, with a lock of its own."""
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch=main")
    for tag, text in (("v1", "one"), ("", "two")):
        (place / "app.py").write_text(text)
        (place / "pyproject.toml").write_text((controller.source / "pyproject.toml").read_text())
        (place / "requirements.txt").write_text(controller.lock.read_text())
        git(place, "add", ".")
        git(place, "commit", "--quiet", "--message", text)
        if tag:
            git(place, "tag", "--annotate", tag, "--message", tag)
    return place


def test_a_given_folder_replaces_the_application_s_in_one_run(tmp_path: Path, controller: Controller) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "pyproject.toml").write_text("[project]\nname = 'given'\n")
    plan = controller.plan(names=["production"], release="given", folder=str(tmp_path))
    assert plan["releases"][0]["source"] == {"directory": str(given)}
    assert f"  from {given}, in this run alone" in "\n".join(plan["lines"])
    registered = controller.plan(names=["production"])
    assert registered["releases"][0]["source"] == {"directory": str(controller.source)}
    assert "in this run alone" not in "\n".join(registered["lines"])


def test_a_commit_is_fetched_once_and_bundled(controller: Controller, repository: Path) -> None:
    url, commits = f"file://{repository}", [git(repository, "rev-parse", name) for name in ("v1^{commit}", "main")]
    plans = {
        revision: controller.plan(names=["production"], release=f"git+{url}@{revision}")["releases"][0]
        for revision in ("v1", "main", commits[0])
    }
    assert [entry["source"]["commit"] for entry in plans.values()] == [*commits, commits[0]]
    assert plans["v1"]["release"] == plans[commits[0]]["release"] != plans["main"]["release"]
    tree = Path(plans["v1"]["source"]["directory"])
    assert ((tree / "app.py").read_text(), plans["v1"]["lock"]) == ("one", str(tree / "requirements.txt"))
    made = controller.run(release_bundle, releases=[plans["v1"]], target=TARGET, cache_directory=str(controller.cache))
    with tarfile.open(made["bundles"][plans["v1"]["release"]]["path"]) as archive:
        assert "source/app.py" in archive.getnames()
    repository.rename(repository.with_name("gone"))
    assert "msg" not in controller.plan(names=["production"], release=f"git+{url}@{commits[0]}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"release": "{git}@v2"}, "revision v2 is no branch, tag or full commit of file://", id="revision"),
        pytest.param({"release": "{git}x@v1"}, "git can't reach file://", id="no such repository"),
        pytest.param(
            {"release": "{git}@v1#subdirectory=web"}, "has no folder web; correct subdirectory", id="subdirectory"
        ),
        pytest.param(
            {"release": "nowhere"}, "nowhere is no folder that exists; correct the path; expected", id="folder"
        ),
        pytest.param({"release": "a.whl"}, "a.whl is not named as a wheel is", id="wheel"),
        pytest.param({"release": "ara==1.8"}, "package ara is not in the lock; add ara==1.8", id="package"),
        pytest.param({"release": "flask==2.0"}, "or name a lock that holds it: -e lock=FILE", id="version"),
        pytest.param(
            {"release": "ara==1.8", "lock": "n.txt"}, "n.txt doesn't exist; make it with: uv pip compile", id="lock"
        ),
        pytest.param({"lock": "n.txt"}, "lock is n.txt, and no release is given that it goes with", id="lock alone"),
        pytest.param({"release": "ara==1.8", "names": []}, "say whose release it is", id="for everybody"),
        pytest.param({"release": "ara==1.8", "rollback": True}, "goes back to what a slot holds", id="rollback"),
    ],
)
def test_a_given_source_that_can_not_be(
    controller: Controller, repository: Path, given: dict[str, Any], said: str
) -> None:
    told = {**given, "release": given.get("release", "").replace("{git}", f"git+file://{repository}")}
    message = controller.plan(**{"names": ["production"], "folder": str(repository.parent), **told})["msg"]
    assert message.startswith("Nothing was deployed")
    assert said in message


def make_archive(place: Path, release: str, inside: str = "") -> None:
    """Make the archive of a release."""
    tree = place / f"tree-{release}"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "run").write_text("#!/bin/sh\n")
    write_manifest(str(tree), inside or release, {})
    (place / "archives").mkdir(exist_ok=True)
    pack_tree(str(tree), str(place / "archives" / f"{release}.tar.gz"))


def test_installing_in_four_runs(tmp_path: Path, controller: Controller) -> None:
    make_archive(tmp_path, "app-1")
    given = {
        "releases": ["app-1"],
        "archive_directory": str(tmp_path / "archives"),
        "releases_directory": str(tmp_path / "releases"),
    }
    assert controller.run(release_install, check=True, **given)["changed"] is True
    assert not (tmp_path / "releases").exists()
    assert controller.run(release_install, **given)["installed"] == ["app-1"]
    assert (tmp_path / "releases" / "app-1" / "bin" / "run").exists()
    assert not list((tmp_path / "archives").iterdir())
    assert controller.run(release_install, **given)["changed"] is False
    assert controller.run(release_install, check=True, **given)["changed"] is False


def test_another_release_under_this_name_is_refused(tmp_path: Path, controller: Controller) -> None:
    make_archive(tmp_path, "app-1", inside="app-2")
    given = {
        "releases": ["app-1"],
        "archive_directory": str(tmp_path / "archives"),
        "releases_directory": str(tmp_path / "releases"),
    }
    assert "app-1.tar.gz holds app-2" in controller.run(release_install, **given)["msg"]
    assert not (tmp_path / "releases" / "app-1").exists()


# What runs a recipe inside a Debian's root; here it does what the recipe of a small release would.
SYSTEMD_RUN = """#!/bin/sh
echo "$@" >> {place}/asked
for word; do
  case $word in --property=BindPaths=*) result=${{word#--property=BindPaths=}}; result=${{result%%:*}};; esac
done
test -e "$result/../broken" && {{ echo 'no wheel for app' >&2; exit 3; }}
mkdir "$result/bin" && echo served > "$result/bin/serve"
"""
SYSTEMCTL = """#!/bin/sh
test -d {place}/builder/roots/trixie || {{ echo 'mmdebstrap failed' >&2; exit 1; }}
"""


class BuildHost:
    """A build host that has the root of one Debian, and a bundle that was sent to it."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.capsys = place, capsys
        (place / "builder" / "roots" / "trixie").mkdir(parents=True)
        (place / "bin").mkdir()
        for name, text in (("systemd-run", SYSTEMD_RUN), ("systemctl", SYSTEMCTL)):
            (place / "bin" / name).write_text(text.format(place=place))
            (place / "bin" / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}/bin:{os.environ['PATH']}")

    def send(self, *files: str) -> str:
        """Put a bundle with such files into place, and return its checksum."""
        bundle = self.place / "app-1.bundle.tar"
        with tarfile.open(bundle, "w") as archive:
            for name in files:
                path = self.place / name
                path.write_text(name)
                archive.add(path, name)
        return hashlib.sha256(bundle.read_bytes()).hexdigest()

    def build(self, sha256: str, check: bool = False) -> dict[str, Any]:
        """Build the release as Ansible would."""
        arguments = {
            "bundles": {"app-1": {"sha256": sha256}},
            "suite": "trixie",
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "bundle_directory": str(self.place),
            "builder_directory": str(self.place / "builder"),
            "archive_directory": str(self.place / "archives"),
            "_ansible_check_mode": check,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            release_build.main()
        return dict(json.loads(self.capsys.readouterr().out))


@pytest.fixture
def build_host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> BuildHost:
    return BuildHost(tmp_path, capsys, monkeypatch)


def test_a_release_is_built_and_packed(build_host: BuildHost) -> None:
    sha256 = build_host.send("wheel")
    foreseen = build_host.build(sha256, check=True)
    assert (foreseen["changed"], foreseen["archives"]) == (True, {})
    assert not (build_host.place / "asked").exists()

    archive = build_host.build(sha256)["archives"]["app-1"]
    path = Path(archive["path"])
    assert archive["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with tarfile.open(path) as packed:
        names = packed.getnames()
    assert {"bin/serve", "manifest.json"} <= {name.removeprefix("./") for name in names}
    assert not (build_host.place / "app-1.bundle.tar").exists()
    assert not (build_host.place / "builder" / "builds" / "app-1").exists()


def test_a_build_sees_no_network_and_one_folder_to_write(build_host: BuildHost) -> None:
    build_host.build(build_host.send("wheel"))
    asked = (build_host.place / "asked").read_text()
    assert "--property=PrivateNetwork=yes" in asked
    assert "--property=ReadWritePaths=/opt/nectar/releases/app-1 /build" in asked


def test_another_bundle_than_the_one_sent_is_refused(build_host: BuildHost) -> None:
    build_host.send("wheel")
    assert "is not what was sent; deploy again" in build_host.build("0" * 64)["msg"]


def test_a_failed_build_says_what_was_said_last(build_host: BuildHost) -> None:
    message = build_host.build(build_host.send("broken"))["msg"]
    assert message.endswith("app-1 failed with code 3; the build said last:\nno wheel for app")


def test_a_root_that_cannot_be_made_is_named(build_host: BuildHost) -> None:
    (build_host.place / "builder" / "roots" / "trixie").rmdir()
    message = build_host.build(build_host.send("wheel"))["msg"]
    assert "the root for trixie can't be made: mmdebstrap failed" in message


def served(release: str) -> dict[str, Any]:
    """Return what a server says that serves a release."""
    content = {"release": release, "revision": "r1", "server_name": "production.nectar.test", "ready_path": "/"}
    record = {
        "deployment": "production",
        "active": "blue",
        "generation": 1,
        "promoted": None,
        "slots": {"blue": content},
    }
    return {**TARGET, "records": {"production": record}, "serves": {"production": True}, "releases": [release]}


def test_what_serves_is_released_anew_whatever_the_source_holds(controller: Controller) -> None:
    found = controller.plan(same_release=True, states={"app1": served("app-0ld")})
    step = found["steps"]["production"]
    assert (step["release"], step["switches"], step["slot"], found["releases"]) == ("app-0ld", True, "green", [])
    assert controller.plan(states={"app1": served("app-0ld")})["steps"]["production"]["release"] != "app-0ld"


def test_what_never_was_released_is_left_alone(controller: Controller) -> None:
    assert controller.plan(same_release=True)["waves"] == []


def test_what_serves_and_is_not_kept_is_refused(controller: Controller) -> None:
    states = {"app1": {**served("app-0ld"), "releases": []}}
    assert "deploy it first" in controller.plan(same_release=True, states=states)["msg"]


def test_another_source_is_not_what_serves(controller: Controller) -> None:
    refusal = controller.plan(same_release=True, release=str(controller.source), states={"app1": served("app-0ld")})
    assert "leave release out" in refusal["msg"]
