"""The page for people."""

from __future__ import annotations

from orders.page import render_page


def test_the_page_names_the_deployment_and_trusts_no_value() -> None:
    page = render_page("alice: orders", {"Release": "<script>"})
    assert "alice: orders" in page
    assert "&lt;script&gt;" in page
