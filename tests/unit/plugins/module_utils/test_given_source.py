# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person may type as a release, what it means, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.given_source import (
    describe_origin,
    explain_fetch,
    lock_name,
    parse_release,
    replace_source,
)
from ansible_collections.nectar.backend.plugins.module_utils.releases import ReleaseError

URL = "https://git.test/team/orders.git"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        pytest.param("../orders", {"directory": "/home/orders"}, id="folder"),
        pytest.param("/srv/orders/", {"directory": "/srv/orders"}, id="absolute folder"),
        pytest.param("./a==1", {"directory": "/home/alice/a==1"}, id="folder that looks like a package"),
        pytest.param("orders", {"directory": "/home/alice/orders"}, id="folder without a slash"),
        pytest.param("dist/a-1-py3-none-any.whl", {"wheel": "/home/alice/dist/a-1-py3-none-any.whl"}, id="wheel"),
        pytest.param("ara==1.8.0", {"package": "ara", "version": "1.8.0"}, id="package"),
        pytest.param(
            "ara[server, x] == 1!2.0rc1+l", {"package": "ara[server,x]", "version": "1!2.0rc1+l"}, id="extras"
        ),
        pytest.param(f"git+{URL}@v1.2", {"git": URL, "revision": "v1.2"}, id="tag"),
        pytest.param(
            f" git+{URL}@feature/x ", {"git": URL, "revision": "feature/x"}, id="branch with a slash, and spaces"
        ),
        pytest.param(f"git+{URL}@{COMMIT}", {"git": URL, "revision": COMMIT}, id="commit"),
        pytest.param(
            "git+file:///srv/a.git@main", {"git": "file:///srv/a.git", "revision": "main"}, id="local repository"
        ),
        pytest.param(
            "git+ssh://git@git.test/a@v1",
            {"git": "ssh://git@git.test/a", "revision": "v1"},
            id="the user of ssh is no login",
        ),
        pytest.param(
            f"git+{URL}@v1#subdirectory=examples/orders",
            {"git": URL, "revision": "v1", "subdirectory": "examples/orders"},
            id="subdirectory",
        ),
    ],
)
def test_what_a_release_may_be(text: str, source: dict[str, str]) -> None:
    assert parse_release(text, "/home/alice") == source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(f"git+{URL}", "revision is missing; expected a branch, a tag or a full commit", id="no revision"),
        pytest.param(f"git+{URL}@", "revision is missing", id="empty revision"),
        pytest.param(f"git+{URL}@--upload-pack=x", "revision is --upload-pack=x", id="option as a revision"),
        pytest.param(f"git+{URL}@a..b", r"revision is a\.\.b", id="range"),
        pytest.param(
            "git+/srv/a.git@v1", "git is /srv/a.git; expected a URL with one of https", id="path in place of a URL"
        ),
        pytest.param("git+git@git.test:a@v1", "git is git@git.test:a; expected a URL", id="address in scp's way"),
        pytest.param("git+ftp://git.test/a@v1", "git is ftp://git.test/a; expected", id="scheme"),
        pytest.param("git+https:///a@v1", "git is https:///a; expected", id="no host"),
        pytest.param(f"git+{URL}@v1#egg=x", "expected nothing after # but subdirectory=FOLDER", id="fragment"),
        pytest.param(f"git+{URL}@v1#subdirectory=../x", "subdirectory is ../x; expected a folder inside", id="outside"),
        pytest.param(f"{URL}@v1", "Write it as git\\+https", id="URL without git"),
        pytest.param("git@git.test:team/a", "Write it as git\\+https", id="address without git"),
        pytest.param("ara==", "A package is written as name==1.2", id="no version"),
        pytest.param("ara[server==1.0", "A package is written as name==1.2", id="open bracket"),
    ],
)
def test_what_a_release_can_not_be(text: str, said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        parse_release(text, "/home/alice")


@pytest.mark.parametrize(
    "login", ["alice:s3cret", "s3cret", ":s3cret"], ids=["name and password", "token", "password alone"]
)
def test_a_login_is_refused_and_not_shown(login: str) -> None:
    with pytest.raises(ReleaseError, match="with a login before the host") as refusal:
        parse_release(f"git+https://{login}@git.test/a@v1", "/")
    assert "s3cret" not in str(refusal.value)


APPLICATION: dict[str, Any] = {"source": {"directory": "/team/orders"}, "lock": "/team/orders/locks/all.txt"}


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        pytest.param(APPLICATION, "locks/all.txt", id="inside the folder"),
        pytest.param({**APPLICATION, "lock": "/team/orders-locks/a.txt"}, "a.txt", id="beside the folder"),
        pytest.param({"source": {"package": "ara"}, "lock": "/locks/ara.txt"}, "ara.txt", id="of a package"),
        pytest.param({"source": {"directory": "/x"}}, "requirements.txt", id="none"),
    ],
)
def test_where_a_source_holds_its_own_lock(application: dict[str, Any], expected: str) -> None:
    assert lock_name(application) == expected


def test_a_given_source_replaces_the_application_s() -> None:
    given = replace_source({**APPLICATION, "migrate": ["m"]}, {"directory": "/mine"}, "")
    assert (given["source"], given["lock"], given["own_lock"], given["migrate"]) == (
        {"directory": "/mine"},
        "/team/orders/locks/all.txt",
        "locks/all.txt",
        ["m"],
    )
    named = replace_source(APPLICATION, {"directory": "/mine"}, "/mine/other.txt")
    assert (named["lock"], named.get("own_lock")) == ("/mine/other.txt", None)


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        pytest.param({"directory": "/a"}, "/a", id="folder"),
        pytest.param({"wheel": "/a.whl"}, "/a.whl", id="wheel"),
        pytest.param({"package": "ara", "version": "1"}, "ara==1", id="package"),
        pytest.param(
            {"git": URL, "revision": "v1", "subdirectory": "x", "commit": COMMIT, "directory": "/cache"},
            f"git+{URL}@v1#subdirectory=x (commit 0123456789ab)",
            id="git",
        ),
    ],
)
def test_where_it_comes_from(source: dict[str, str], origin: str) -> None:
    assert describe_origin(source) == origin


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            "fatal: couldn't find remote ref v9", f"revision v9 is no branch, tag or full commit of {URL}", id="ref"
        ),
        pytest.param("fatal: remote error: upload-pack: not our ref 9", "revision v9 is no branch", id="commit"),
        pytest.param(
            "\nfatal: Could not resolve host: git.test\n", "Could not resolve host: git.test. Check the", id="offline"
        ),
        pytest.param("", "git said nothing. Check the address", id="silence"),
        pytest.param(
            "fatal: no access to https://a:s3cret@git.test/", "no access to https://git.test/. Check", id="login"
        ),
    ],
)
def test_why_nothing_was_fetched(said: str, expected: str) -> None:
    assert expected in explain_fetch({"git": URL, "revision": "v9"}, said)
