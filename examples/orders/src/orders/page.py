"""The page for people: which deployment is this?"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem; color: #222 }}
dt {{ color: #666; font-size: .85rem }} dd {{ margin: 0 0 1rem; font-family: ui-monospace, monospace }}
</style>
<h1>{title}</h1>
<dl>
{facts}
</dl>
<p><a href="/orders?limit=10">The newest orders</a> · <a href="/readyz">Can it serve?</a></p>
</html>
"""


def render_page(title: str, facts: Mapping[str, str]) -> str:
    """The page as HTML, whatever the values hold."""
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return PAGE.format(title=escape(title), facts=rows)
