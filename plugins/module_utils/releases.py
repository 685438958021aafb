# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What makes a release the release it is: its inputs, its name, its manifest."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

# Raised whenever the same inputs would be built into something else: every release gets a new name.
RECIPE = 1

RELEASES_DIRECTORY = "/opt/nectar/releases"

# Runs inside the throwaway root, without a network. pip comes from Debian's own wheel of it and stays out of the release.
RECIPE_SCRIPT = """\
set -eu
release=$1
export PYTHONPATH="$(echo /usr/share/python-wheels/pip-*.whl)" HOME=/tmp SOURCE_DATE_EPOCH=1577836800
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/build/wheels PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COLOR=1 PIP_QUIET=1
python3 -m venv --without-pip "$release"
[ ! -d /build/source ] || python3 -m pip wheel --no-deps --wheel-dir /build/built /build/source
"$release/bin/python" -m pip install --no-deps --no-compile --require-hashes --requirement /build/install.txt
[ ! -d /build/built ] || "$release/bin/python" -m pip install --no-deps --no-compile /build/built/*.whl
"$release/bin/python" -m pip check
"$release/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$release/lib"
rm -f "$release/.gitignore" "$release"/bin/activate* "$release"/bin/Activate*
"""
MANIFEST = "manifest.json"
ID_DIGITS = 12

# The Python that each Debian release carries, and the C library that its wheels may ask for.
PYTHONS = {"12": "3.11", "13": "3.13"}
SUITES = {"12": "bookworm", "13": "trixie"}
GLIBC_MINORS = {"12": 36, "13": 41}
OLDEST_GLIBC_MINOR = 5
LEGACY_PLATFORMS = ("manylinux2014", "manylinux2010", "manylinux1")

# Left out of a source tree: what tools leave behind, and what says nothing about the program.
JUNK_DIRECTORIES = frozenset(
    {
        ".git",
        ".hg",
        ".venv",
        "__pycache__",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".tox",
        ".nox",
        "node_modules",
    }
)
JUNK_SUFFIXES = (".pyc", ".pyo", ".swp", "~")
BUILD_OUTPUT = re.compile(r"(build|dist|[^/]+\.egg-info)(/|$)")

REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*==\s*(?P<version>[^\s;]+)\s*(;\s*(?P<marker>.+))?$"
)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ReleaseError(ValueError):
    """A release that can't be described, built or trusted, with what to do about it."""


@dataclass(frozen=True)
class Target:
    """Where releases run: Debian's major version and the machine."""

    debian: str
    machine: str

    @property
    def python(self) -> str:
        """The Python of that Debian, as 3.13."""
        return PYTHONS[self.debian]

    @property
    def suite(self) -> str:
        """The code name that package mirrors use."""
        return SUITES[self.debian]

    @property
    def abi(self) -> str:
        """The Python's tag in the names of wheels."""
        return f"cp{self.python.replace('.', '')}"

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of wheels that run there, the most specific first."""
        modern = (f"manylinux_2_{minor}" for minor in range(GLIBC_MINORS[self.debian], OLDEST_GLIBC_MINOR - 1, -1))
        return tuple(f"{tag}_{self.machine}" for tag in (*modern, *LEGACY_PLATFORMS))


@dataclass(frozen=True)
class SourceFile:
    """A file of a source tree: its path from the root, whether it may be run, and the digest of its content."""

    path: str
    executable: bool
    digest: str


@dataclass(frozen=True)
class Requirement:
    """A line of a lock: one version of one package, the wheels it may come in, and when it is needed."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def line(self) -> str:
        """The requirement as pip reads it, without the marker that has been judged already."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{digest}" for digest in self.hashes)])


@dataclass(frozen=True)
class Manifest:
    """What a release holds, by the digests of its files and the aims of its links, and what it was made of."""

    release: str
    files: Mapping[str, str]
    links: Mapping[str, str]
    inputs: Mapping[str, object] = field(default_factory=dict)


def make_target(debian: object, machine: object) -> Target:
    """Describe where releases run, or say that nothing can be built for it."""
    if str(debian) not in PYTHONS:
        raise ReleaseError(
            f"Debian {debian} is not supported; releases are built for Debian {' and '.join(sorted(PYTHONS))}"
        )
    return Target(str(debian), str(machine))


def is_source(path: str) -> bool:
    """Say whether a file of a source tree belongs to the source."""
    parts = path.split("/")
    return not (JUNK_DIRECTORIES & set(parts) or path.endswith(JUNK_SUFFIXES) or _is_build_output(path))


def _is_build_output(path: str) -> bool:
    # `build` and `dist` only at the top, where tools put them; a package may well be called so.
    return BUILD_OUTPUT.match(path) is not None or any(part.endswith(".egg-info") for part in path.split("/"))


def tree_digest(files: Iterable[SourceFile]) -> str:
    """Return one digest of the tree, the same on every file system."""
    lines = (
        f"{file.path}\0{'x' if file.executable else '-'}\0{file.digest}\n"
        for file in sorted(files, key=lambda f: f.path)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def release_id(application: str, source: Mapping[str, str], locks: Sequence[str], target: Target) -> str:
    """Name a release after all that goes into it.

    `source` says what is installed: a tree's or a wheel's digest, or a package and its version.
    """
    inputs = {
        "application": application,
        "source": dict(source),
        "locks": [hashlib.sha256(lock.encode()).hexdigest() for lock in locks],
        "target": asdict(target),
        "recipe": RECIPE,
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"{application}-{digest[:ID_DIGITS]}"


def parse_lock(text: str) -> tuple[Requirement, ...]:
    """Read a lock: every requirement is one exact version with the hashes of its files."""
    joined = text.replace("\\\n", " ")
    return tuple(_parse_requirement(line) for line in map(_without_comment, joined.splitlines()) if line)


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def _parse_requirement(line: str) -> Requirement:
    hashes = tuple(HASH.findall(line))
    found = REQUIREMENT.match(HASH.sub("", line).strip())
    if not found:
        raise ReleaseError(
            f"line {line[:80]!r} is not of the form name==version --hash=sha256:…; "
            "make the lock with: uv pip compile --generate-hashes -o requirements.txt pyproject.toml"
        )
    if not hashes:
        raise ReleaseError(
            f"{found['name']}=={found['version']} has no --hash=sha256:…; make the lock with: uv pip compile --generate-hashes"
        )
    return Requirement(canonical_name(found["name"]), found["version"], (found["marker"] or "").strip(), hashes)


def canonical_name(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def marker_environment(target: Target) -> dict[str, str]:
    """Return what environment markers of a lock are judged by: the target's values, not the controller's."""
    return {
        "implementation_name": "cpython",
        # Which patch release Debian has come to is not part of a release's name, so a marker can't depend on it.
        "implementation_version": f"{target.python}.0",
        "os_name": "posix",
        "platform_machine": target.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{target.python}.0",
        "python_version": target.python,
        "sys_platform": "linux",
    }


def select_requirements(
    requirements: Iterable[Requirement], is_needed: Callable[[str], bool]
) -> tuple[Requirement, ...]:
    """Return what the target needs, as `is_needed` judges the markers."""
    return tuple(requirement for requirement in requirements if not requirement.marker or is_needed(requirement.marker))


def missing_requirements(requirements: Iterable[Requirement], present: Collection[str]) -> tuple[Requirement, ...]:
    """Return the requirements none of whose files is among the digests that are present."""
    return tuple(requirement for requirement in requirements if not set(requirement.hashes) & set(present))


def names_of(specifications: Iterable[str]) -> frozenset[str]:
    """Return the packages that requirement specifications such as setuptools>=77 name."""
    found = (NAME.match(specification.strip()) for specification in specifications)
    return frozenset(canonical_name(match[0]) for match in found if match)


def split_requirements(
    requirements: Sequence[Requirement], project: Mapping[str, object]
) -> tuple[tuple[Requirement, ...], tuple[str, ...]]:
    """Separate what a release installs from what only builds its source.

    `project` is the parsed pyproject.toml. Returned are the requirements to install, and the names of those that only build.
    """
    building = names_of(_texts(project.get("build-system"), "requires") or ["setuptools"])
    running = names_of(_texts(project.get("project"), "dependencies"))
    locked = {requirement.name for requirement in requirements}
    if unlocked := sorted(building - locked):
        raise ReleaseError(
            f"[build-system] requires {', '.join(unlocked)}, which the lock doesn't hold; add it there, so that the build needs no index"
        )
    only_building = building - running
    return tuple(requirement for requirement in requirements if requirement.name not in only_building), tuple(
        sorted(only_building)
    )


def _texts(table: object, key: str) -> list[str]:
    values = table.get(key) if isinstance(table, dict) else None
    return [str(value) for value in values] if isinstance(values, list) else []


def check_package(package: str, version: str, requirements: Iterable[Requirement]) -> None:
    """Refuse a package whose lock holds another version, or doesn't hold it."""
    name = next(iter(names_of([package])), package)
    locked = {requirement.name: requirement.version for requirement in requirements}
    if name not in locked:
        raise ReleaseError(
            f"package {package} is not in the lock; add {package}=={version} to what the lock is made from"
        )
    if locked[name] != version:
        raise ReleaseError(
            f"version is {version}, and the lock holds {name}=={locked[name]}; make the lock again, or correct the version"
        )


def manifest_text(manifest: Manifest) -> str:
    """Write a manifest, the same for the same content."""
    return json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n"


def parse_manifest(text: str) -> Manifest:
    """Read a manifest."""
    try:
        data = json.loads(text)
        return Manifest(data["release"], data["files"], data["links"], data["inputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{MANIFEST} can't be read ({error}); remove the release, and deploy again") from error


def compare_manifest(manifest: Manifest, files: Mapping[str, str], links: Mapping[str, str]) -> None:
    """Refuse a tree that isn't what the manifest says."""
    wrong = sorted(
        path
        for expected, found in ((manifest.files, files), (manifest.links, links))
        for path in expected.keys() | found.keys()
        if path != MANIFEST and expected.get(path) != found.get(path)
    )
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise ReleaseError(f"release {manifest.release} differs from its manifest in {shown}")


def check_member(path: str, aim: str = "") -> None:
    """Refuse a member of an archive that would land outside the release; a link may aim at a system's Python alone."""
    inside = posixpath.normpath(posixpath.join("/r", posixpath.dirname(path), aim)).startswith("/r/") if aim else True
    outside = path.startswith("/") or ".." in path.split("/") or not (inside or aim.startswith("/usr/bin/python3"))
    if outside:
        raise ReleaseError(f"archive member {path} leads outside the release")


def releases_to_prune(present: Sequence[str], used: Collection[str], keep: int) -> tuple[str, ...]:
    """Say which releases may go: `present` is ordered from new to old, and each application keeps its newest.

    Releases that a slot holds always stay.
    """
    kept: dict[str, int] = {}
    prunable = []
    for release in present:
        application = release.rpartition("-")[0]
        kept[application] = kept.get(application, 0) + 1
        if kept[application] > keep and release not in used:
            prunable.append(release)
    return tuple(prunable)
