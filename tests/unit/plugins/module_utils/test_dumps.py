# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tables of an archive's list."""

from __future__ import annotations

from ansible_collections.nectar.backend.plugins.module_utils.dumps import tables_in

LISTING = """\
;
; Archive created at 2026-01-31 10:00:00 UTC
;     dbname: grace
218; 1259 16402 TABLE public orders grace
217; 1259 16401 SEQUENCE public orders_id_seq grace
219; 1259 16409 TABLE audit two words grace
3412; 0 16402 TABLE DATA public orders grace
3270; 2606 16406 CONSTRAINT public orders orders_pkey grace
"""


def test_tables() -> None:
    assert tables_in(LISTING) == ["audit.two words", "public.orders"]


def test_an_empty_database() -> None:
    assert tables_in("") == []
