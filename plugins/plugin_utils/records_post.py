# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Post the runs that wait to the environment's records, each exactly once; or list what is recorded.

A run is known there by its label and its start. What an earlier posting left half done is taken away and done again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

COLLECTIONS = os.path.abspath(__file__).rsplit(os.sep, 6)[0]
if COLLECTIONS not in sys.path:  # started by its path, so nothing has made the collection importable
    sys.path.append(COLLECTIONS)

from ansible_collections.nectar.backend.plugins.plugin_utils.records import (
    Api,
    FaultError,
    RecordsError,
    RefusedError,
    parse_records,
)
from ansible_collections.nectar.backend.plugins.plugin_utils.records_run import (
    PlayRecord,
    RunError,
    RunRecord,
    TaskRecord,
    read_run,
)
from ansible_collections.nectar.backend.plugins.plugin_utils.records_spool import Spool, spool_folder

# The longest text that ARA's columns take.
LONGEST = 255
# Labels that `listed` shows, and ARA's words for how a run ended where there is none.
SHOWN = ("environment", "deployment", "member", "release", "person", "outcome")


@dataclass(frozen=True)
class Posting:
    """What one posting did."""

    posted: int = 0
    set_aside: int = 0
    waiting: int = 0
    problem: str = ""


def open_api(file: str) -> Api:
    """Read where the records are, and get ready to ask there."""
    try:
        with open(file, encoding="utf-8") as opened:
            return Api(parse_records(opened.read()))
    except FileNotFoundError as error:
        raise RecordsError(
            f"there is no {file}: no deployment has told this controller where the records are"
        ) from error
    except (OSError, RecordsError) as error:
        raise RecordsError(f"{file}: {error}; correct it, or release the deployment records again") from error


def post_waiting(spool: Spool, api: Api) -> Posting:
    """Post what waits, oldest first. A silent server ends it; a run that can't be posted only stands aside."""
    posted = set_aside = waiting = 0
    problem = ""
    paths = spool.waiting()
    for number, path in enumerate(paths):
        with spool.claim(path) as held:
            if not held:
                continue
            try:
                with open(path, "rb") as file:
                    post_run(api, read_run(file.read()))
            except (RunError, RefusedError) as error:
                spool.set_aside(path, str(error))
                set_aside += 1
            except FaultError as error:
                waiting, problem = waiting + 1, str(error)
            except RecordsError as error:
                return Posting(posted, set_aside, waiting + len(paths) - number, str(error))
            else:
                os.unlink(path)
                posted += 1
    return Posting(posted, set_aside, waiting, problem)


def post_run(api: Api, run: RunRecord) -> None:
    """Have one run in the records: all of it, once."""
    found = find_run(api, run)
    whole = [one["id"] for one in found if one.get("status") != "running"]
    keep = whole[0] if whole else None
    for other in [one["id"] for one in found if one["id"] != keep]:
        api.ask("DELETE", f"playbooks/{other}")
    if keep is None:
        keep = post_whole(api, run)
        # An earlier request that seemed lost may have been served late.
        for other in [one["id"] for one in find_run(api, run) if one["id"] != keep]:
            api.ask("DELETE", f"playbooks/{other}")


def find_run(api: Api, run: RunRecord) -> list[dict[str, Any]]:
    """All that the records hold of a run, also where its labels were not written before the server died."""
    moment = {"started_after": run.told["started"], "started_before": run.told["started"], "limit": "100"}
    path = run.told["path"][-LONGEST:]
    return [
        one
        for one in api.playbooks(**moment)
        if run.label in one["labels"] or (one.get("path") == path and not one["labels"])
    ]


def post_whole(api: Api, run: RunRecord) -> int:
    """Post a run that the records don't hold. Its status comes last: until then it counts as half done."""
    told = run.told
    playbook = api.create(
        "playbooks",
        status="running",
        path=told["path"][-LONGEST:],
        started=told["started"],
        ansible_version=told["ansible_version"],
        python_version=told["python_version"],
        controller=told["controller"][:LONGEST],
        user=told["person"][:LONGEST],
        arguments=told["arguments"],
        labels=[run.label, *run.labels, f"outcome:{run.outcome}"],
    )
    try:
        files = {path: _post_file(api, playbook, path, content) for path, content in run.files.items()}
        hosts = {name: _post_host(api, playbook, name, counts) for name, counts in run.hosts.items()}
        for play in run.plays:
            _post_play(api, playbook, play, files, hosts)
    except RefusedError:
        api.ask("DELETE", f"playbooks/{playbook}")
        raise
    api.ask("PATCH", f"playbooks/{playbook}", body={"status": run.status, "ended": run.ended})
    return playbook


def _post_file(api: Api, playbook: int, path: str, content: str) -> int:
    return api.create("files", playbook=playbook, path=path[-LONGEST:], content=content)


def _post_host(api: Api, playbook: int, name: str, counts: Mapping[str, int]) -> int:
    known = ("ok", "changed", "failed", "skipped", "unreachable")
    return api.create(
        "hosts", playbook=playbook, name=name[:LONGEST], **{key: counts[key] for key in known if key in counts}
    )


def _post_play(api: Api, playbook: int, play: PlayRecord, files: Mapping[str, int], hosts: Mapping[str, int]) -> None:
    told = play.told
    number = api.create(
        "plays",
        playbook=playbook,
        name=told["name"][:LONGEST],
        uuid=told["uuid"],
        status="completed",
        started=told["at"],
        ended=play.ended,
    )
    for task in play.tasks:
        _post_task(api, {"playbook": playbook, "play": number}, task, files, hosts)


def _post_task(
    api: Api, within: Mapping[str, int], task: TaskRecord, files: Mapping[str, int], hosts: Mapping[str, int]
) -> None:
    told = task.told
    number = api.create(
        "tasks",
        **within,
        **{key: told[key] for key in ("uuid", "name", "action", "lineno", "tags", "handler")},
        file=files[told["path"]],
        status=task.status,
        started=told["at"],
        ended=task.ended,
    )
    for result in task.results:
        api.create(
            "results",
            **within,
            task=number,
            host=hosts[result["host"]],
            delegated_to=[hosts[name] for name in result["delegated_to"]],
            content=result.get("content") or {"left_out": f"{result.get('left_out', 0)} bytes"},
            started=result["at"],
            **{key: result[key] for key in ("status", "changed", "ignore_errors", "ended")},
        )


def listed(api: Api, limit: int) -> list[dict[str, Any]]:
    """The latest recorded runs, as `nectar records` shows them."""
    return [list_run(one) for one in api.playbooks(order="-started", limit=str(limit))]


def list_run(playbook: Mapping[str, Any]) -> dict[str, Any]:
    """One recorded run: what its labels say, when it began, and how many seconds it took."""
    labels = [label.partition(":") for label in playbook["labels"]]
    values = {kind: [value for name, _colon, value in labels if name == kind] for kind in SHOWN}
    started, ended = playbook.get("started"), playbook.get("ended")
    seconds = None
    if started and ended:
        seconds = round((datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds(), 1)
    return {
        "when": started,
        "playbook": os.path.basename(str(playbook.get("path"))),
        **{name: ",".join(found) or None for name, found in values.items()},
        "outcome": ",".join(values["outcome"]) or playbook.get("status"),
        "seconds": seconds,
        "run": next((value for name, _colon, value in labels if name == "run"), None),
    }


def post(file: str, patient: bool) -> Posting:
    """Post what waits beside this file, alone; an impatient one leaves it to whoever waits already."""
    spool = Spool(spool_folder(file))
    if not spool.waiting():
        spool.note_problem("")
        return Posting()
    with spool.posting(patient) as first:
        if not first:
            return Posting(waiting=len(spool.waiting()))
        try:
            with open_api(file) as api:
                posting = post_waiting(spool, api)
        except (RecordsError, OSError) as error:
            posting = Posting(waiting=len(spool.waiting()), problem=str(error))
        spool.note_problem(posting.problem)
        return posting


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was done or found as one line of JSON; 1 says that something is in the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("list", "post", "post-quietly"))
    parser.add_argument("file", help="the file that says where the records are")
    parser.add_argument("--limit", type=int, default=50, help="runs that list shows at most")
    options = parser.parse_args(arguments)
    spool = Spool(spool_folder(options.file))
    if options.action == "list":
        try:
            with open_api(options.file) as api:
                document = {"runs": listed(api, options.limit), "waiting": len(spool.waiting()), "problem": ""}
        except RecordsError as error:
            document = {"runs": [], "waiting": len(spool.waiting()), "problem": str(error)}
    else:
        if options.action == "post-quietly":
            os.nice(19)
        document = asdict(post(options.file, patient=options.action == "post"))
    print(json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **document}), flush=True)
    return 1 if document["problem"] else 0


if __name__ == "__main__":
    sys.exit(main())
