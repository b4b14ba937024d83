"""The page to try requests on: complete without JavaScript, and safe whatever names are in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from typing import Any

import httpx
import pytest

from everloop.serve.describing import Example, ModelDescription
from everloop.serve.playground.page import render_page


def texts(pattern: str, page: str) -> list[str]:
    return [unescape(each) for each in re.findall(pattern, page, re.DOTALL)]


def test_every_request_on_it_works(shop: Any, server: httpx.Client) -> None:
    for url in (shop.url, str(server.base_url).rstrip("/")):
        page = httpx.get(f"{url}/try").text
        assert len(texts(r"<section", page)) >= 2
        for line in texts(r'<pre class="curl">(.*?)</pre>', page):
            done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, timeout=20, check=True)
            assert "error" not in json.loads(done.stdout), line
        for body in texts(r"<textarea[^>]*>(.*?)</textarea>", page):
            json.loads(body)


def test_it_says_what_is_served(shop: Any) -> None:
    page = httpx.get(f"{shop.url}/try").text
    assert shop.champion[:12] in page
    assert "price (double)" in page
    assert "lightgbm" in page


def test_nothing_comes_from_elsewhere(shop: Any) -> None:
    response = httpx.get(f"{shop.url}/try")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    links = texts(r'(?:src|href)="([^"]*)"', response.text)
    assert links
    assert all(link.startswith("/") for link in links)


def test_its_script_runs_under_its_policy(shop: Any) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"]
    done = subprocess.run([browser, *flags, f"{shop.url}/try"], capture_output=True, text=True, timeout=60, check=True)
    buttons = re.findall(r'<button type="button" class="send"([^>]*)>', done.stdout)
    assert buttons
    assert not any("hidden" in attributes for attributes in buttons)
    assert "readonly" not in done.stdout.partition("<main>")[2]


def test_names_are_escaped() -> None:
    odd = "<script>alert('x')</script>"
    example = Example("x", odd, "POST", f"/v1/{odd}", {odd: [odd]})
    model = ModelDescription(odd, odd, odd, {}, [example], {odd: odd})
    page = render_page(odd, model, address=f"http://host/{odd}")
    assert page.count("<script>") == 1
    assert "alert('x')" not in page


def test_nobody_in_charge() -> None:
    page = render_page("demand", None, address="http://127.0.0.1:8000")
    assert "everloop run" in page
    assert "<section" not in page
