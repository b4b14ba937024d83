"""The page ``/try``: the model in charge, and requests to it that can be read, copied, changed and sent.

It is one document with nothing from elsewhere, and can be read without JavaScript; with it, requests can be sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from everloop import __version__
from everloop.serve.describing import Example, ModelDescription

__all__ = ["SECURITY_POLICY", "render_page"]


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_STYLE = _asset("try.css")
_SCRIPT = _asset("try.js")

SECURITY_POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Try {title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{about}</p>
</header>
<main>
{main}
</main>
<footer>
<p>Everloop {version} · <a href="/openapi.json">OpenAPI</a> · <a href="/metrics">metrics</a> ·
<a href="/v2/models/{title}">metadata</a></p>
</footer>
<script>{script}</script>
</body>
</html>
"""

_REQUEST = """<section class="request" data-method="{method}" data-path="{path}">
<h2>{title}</h2>
<p class="line"><span class="method">{method}</span> <code>{path}</code></p>
{body}<p class="actions"><button type="button" class="send" hidden>Send</button>
<output class="told" aria-live="polite"></output></p>
<div class="answer" hidden><svg class="chart" viewBox="0 0 600 120" role="img" hidden></svg><pre></pre></div>
<details><summary>curl</summary><pre class="curl">{curl}</pre></details>
</section>"""

_KEY = """<p class="key" hidden><label for="key">API key, if this server asks for one</label>
<input id="key" type="password" autocomplete="off" spellcheck="false"></p>"""


def render_page(name: str, model: ModelDescription | None, *, address: str) -> str:
    """The page as HTML.

    Args:
        name: the project's name.
        model: what is in charge, ``None`` where nobody is.
        address: the server's address as the caller sees it, for the curl lines.
    """
    if model is None:
        about = "No release is in charge yet."
        main = '<p class="empty">Make one with <code>everloop run</code>; this page then shows requests to it.</p>'
    else:
        about = f'release <code title="{escape(model.release)}">{escape(model.release[:12])}</code>'
        facts = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in model.facts.items())
        requests = "\n".join(_request(each, address) for each in model.examples)
        main = f"<dl>{facts}</dl>\n{_KEY}\n{requests}"
    return _PAGE.format(
        title=escape(name), style=_STYLE, script=_SCRIPT, about=about, main=main, version=escape(__version__)
    )


def _request(example: Example, address: str) -> str:
    body = ""
    if example.body is not None:
        text = _shown(example.body)
        rows = min(18, text.count("\n") + 1)
        body = (
            f'<textarea rows="{rows}" spellcheck="false" aria-label="request body" readonly>{escape(text)}</textarea>\n'
        )
    return _REQUEST.format(
        method=example.method,
        path=escape(example.path),
        title=escape(example.title),
        body=body,
        curl=escape(curl_line(example, address)),
    )


def _shown(value: Any, indent: str = "") -> str:
    """JSON that a person can read: what is short, or a list of plain values, on one line.

    >>> print(_shown({"series": ["a", "b"], "note": "x" * 80}))
    {
      "series": ["a", "b"],
      "note": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    }
    """
    line = json.dumps(value, ensure_ascii=False)
    is_plain = not isinstance(value, list | dict) or not any(isinstance(each, list | dict) for each in value)
    if len(line) <= 80 or (is_plain and not isinstance(value, dict)):
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_shown(each, inner)}" for key, each in value.items()]
    else:
        parts = [_shown(each, inner) for each in value]
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return first + "\n" + ",\n".join(inner + part for part in parts) + "\n" + indent + last


def curl_line(example: Example, address: str) -> str:
    """The request as a command for a shell.

    >>> curl_line(Example("x", "X", "GET", "/v1/forecast/a"), "http://127.0.0.1:8000")
    'curl -s http://127.0.0.1:8000/v1/forecast/a'
    """
    line = f"curl -s {shlex.quote(address + example.path)}"
    if example.body is None:
        return line
    body = msgspec.json.encode(example.body).decode()
    return f"{line} -H 'content-type: application/json' -d {shlex.quote(body)}"
