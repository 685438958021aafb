"""How it is served: `orders-serve --bind ADDRESS:PORT`, by Granian, whose HTTP is not Python's.

The application is loaded before the fork, so that a worker shares its code with the process that watches over it: ten
of these live side by side on a server of 1 GB. Threads serve requests, for these wait for the database and hardly
compute.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Longer than a load balancer keeps an idle connection, so that only the balancer closes it. Granian takes no more.
KEEP_ALIVE = 60
# A worker that is told to stop may finish its requests for so many seconds.
GRACE = 20
# A thread that had no request for so many seconds ends, and its connection to the database with it. Nor here.
THREAD_IDLE = 600


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    options = read_options(argv, os.environ)
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    load("")
    # Keep what is loaded out of the garbage collector's hands, which would copy it into the worker.
    gc.collect()
    gc.freeze()
    Granian(
        "orders.wsgi:app",
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=1000 * KEEP_ALIVE),
        websockets=False,
        blocking_threads_idle_timeout=THREAD_IDLE,
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=GRACE,
        **options,
    ).serve(target_loader=load)


def load(_target: str) -> Callable[..., Any]:
    """The application; a worker finds it loaded already."""
    from orders.wsgi import app

    return app


def read_options(argv: Sequence[str] | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a command line and the environment say."""
    parser = argparse.ArgumentParser(prog="orders-serve", description="Serve orders over HTTP.")
    parser.add_argument("--bind", default="127.0.0.1:8000", type=_address, metavar="ADDRESS:PORT")
    parser.add_argument("--threads", default=2, type=int, help="requests that a worker serves at a time")
    parser.add_argument(
        "--workers",
        default=environment.get("WEB_CONCURRENCY", "1"),
        type=int,
        help="worker processes; without it, what WEB_CONCURRENCY says",
    )
    given = parser.parse_args(argv)
    address, port = given.bind
    return {"address": address, "port": port, "blocking_threads": given.threads, "workers": given.workers}


def _address(text: str) -> tuple[str, int]:
    address, colon, port = text.rpartition(":")
    if not (colon and address and port.isascii() and port.isdigit() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected ADDRESS:PORT")
    return address.strip("[]"), int(port)


if __name__ == "__main__":
    main()
