# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person types: `nectar lab up`, `nectar status`, `nectar site`, `nectar deploy`, `nectar records`."""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from nectar_backend import project
from nectar_backend.display import choose_display, summarise
from nectar_backend.errors import NectarError
from nectar_backend.inventory import choose_deployments, read_inventory, shared_variables
from nectar_backend.project import INVENTORIES, ROOT, Lab
from nectar_backend.records import ask_records, describe_posting, print_records
from nectar_backend.report import next_steps, print_next_steps, print_status
from nectar_backend.runs import Job, Outcome, name_log, run_job
from nectar_backend.status import as_json, ask_all, list_targets

OK, NOT_SERVED, FAILED, INTERRUPTED = 0, 1, 2, 130

CREATE = "playbooks/lab/create.yml"
DESTROY = "playbooks/lab/destroy.yml"
CLEAN = "playbooks/lab/clean.yml"
SITE = "playbooks/site.yml"
DEPLOY = "playbooks/deploy.yml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one command; say what went wrong in words, never in a traceback."""
    options = build_parser().parse_args(arguments)
    # A pipe has no width of its own; lines are never folded there.
    console = Console(highlight=False)
    lab = project.find_lab(os.environ, Path.home())
    try:
        code: int = options.command(options, lab, console)
    except NectarError as error:
        print(f"nectar: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nectar", description="Run a team's backend on its own Debian servers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    lab = commands.add_parser("lab", help="hosts of your own on this machine, without a cloud")
    actions = lab.add_subparsers(required=True, metavar="ACTION")
    for name, command, purpose in (
        ("up", lab_up, "make the hosts, converge them, deploy, and show what is served"),
        ("down", lab_down, "remove hosts, networks, volumes, secrets and state"),
        ("clean", lab_clean, "remove all that, and the images"),
    ):
        action = actions.add_parser(name, help=purpose)
        action.set_defaults(command=command)
    up = actions.choices["up"]
    up.add_argument("--topology", choices=sorted(INVENTORIES), help="ha: eight hosts (default); single: one")

    status = commands.add_parser("status", help="ask every deployment now; exits with 0 if all are served")
    status.add_argument("--format", choices=("table", "json"), default="table")
    status.set_defaults(command=show_status)

    site = commands.add_parser("site", help="converge the lab's servers")
    site.set_defaults(command=converge)

    deploy = commands.add_parser("deploy", help="release deployments, all of them where none is named")
    deploy.add_argument("names", nargs="*", metavar="DEPLOYMENT|MEMBER")
    deploy.set_defaults(command=release)

    records = commands.add_parser("records", help="list the recorded runs, or post those that wait")
    records.add_argument("action", nargs="?", choices=("list", "post"), default="list", help="list (default) or post")
    records.add_argument("--format", choices=("table", "json"), default="table")
    records.set_defaults(command=show_records)
    return parser


def lab_up(options: argparse.Namespace, lab: Lab, console: Console) -> int:
    topology = project.choose_topology(options.topology, project.read_topology(lab))
    project.require_root()
    with project.only_one(lab):
        project.write_topology(lab, topology)
        console.print(f"Lab with TOPOLOGY={topology}, state in {lab.directory}", markup=False, soft_wrap=True)
        code = run_all([job_for(playbook, topology) for playbook in (CREATE, SITE, DEPLOY)], lab.logs, console)
        return code or report(topology, lab, console)


def lab_down(options: argparse.Namespace, lab: Lab, console: Console) -> int:
    return take_down(DESTROY, lab, console)


def lab_clean(options: argparse.Namespace, lab: Lab, console: Console) -> int:
    return take_down(CLEAN, lab, console)


def take_down(playbook: str, lab: Lab, console: Console) -> int:
    """Run what removes; the log lies elsewhere meanwhile, for the state folder goes too."""
    topology = project.read_topology(lab) or project.DEFAULT_TOPOLOGY
    project.require_root()
    logs = Path(tempfile.mkdtemp(prefix="nectar-logs-"))
    with project.only_one(lab):
        code = run_all([job_for(playbook, topology)], logs, console)
    if code == OK:
        shutil.rmtree(logs)
    return code


def converge(options: argparse.Namespace, lab: Lab, console: Console) -> int:
    topology = project.require_topology(lab)
    with project.only_one(lab):
        return run_all([job_for(SITE, topology)], lab.logs, console)


def release(options: argparse.Namespace, lab: Lab, console: Console) -> int:
    """Release what is named; no name means all, as it does to the playbook."""
    topology = project.require_topology(lab)
    if not options.names:
        return run_all([job_for(DEPLOY, topology)], lab.logs, console)
    known = shared_variables(read_inventory(ROOT, INVENTORIES[topology]))["deployments"]
    names = ",".join(choose_deployments(options.names, known))
    return run_all([job_for(DEPLOY, topology, deployment=names)], lab.logs, console)


def show_status(options: argparse.Namespace, lab: Lab, console: Console) -> int:
    topology = project.require_topology(lab)
    if options.format == "table":
        return report(topology, lab, console)
    rows = ask_all(list_targets(read_inventory(ROOT, INVENTORIES[topology]), lab.ca_file))
    print(as_json(rows))
    return OK if all(row.ok for row in rows) else NOT_SERVED


def show_records(options: argparse.Namespace, lab: Lab, console: Console) -> int:
    """List or post; what waits is told with both, and why it does."""
    answer = ask_records(options.action, lab.records_file)
    if options.format == "json":
        print(json.dumps(answer, indent=2))
    elif options.action == "post":
        print(describe_posting(answer))
    else:
        print_records(console, answer)
    return NOT_SERVED if answer["problem"] else OK


def report(topology: str, lab: Lab, console: Console) -> int:
    """Ask, show the table and what to type next."""
    inventory = read_inventory(ROOT, INVENTORIES[topology])
    targets = list_targets(inventory, lab.ca_file)
    rows = ask_all(targets)
    console.print()
    print_status(console, rows)
    print_next_steps(console, next_steps(targets, inventory["app_servers"]["hosts"], lab.ssh_config))
    return OK if all(row.ok for row in rows) else NOT_SERVED


def job_for(playbook: str, topology: str, **variables: str) -> Job:
    return Job(playbook, INVENTORIES[topology], variables)


def run_all(jobs: Sequence[Job], logs: Path, console: Console) -> int:
    """Run one after the other, and stop at the first that fails."""
    outcomes: list[Outcome] = []
    display = choose_display(console)
    for job in jobs:
        outcomes.append(run_job(job, ROOT, name_log(logs, job, time.localtime()), display))
        if not outcomes[-1].ok:
            return INTERRUPTED if outcomes[-1].interrupted else FAILED
    console.print(summarise(outcomes), style="bold", markup=False, soft_wrap=True)
    return OK
