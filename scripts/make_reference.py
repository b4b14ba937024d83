"""Write the reference pages that follow from the code: settings, commands, errors, the HTTP interface.

    python scripts/make_reference.py

``tests/docs/test_reference.py`` fails where a page is behind the code.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo

from everloop.cli.commands import COMMANDS
from everloop.core import errors
from everloop.core.reference import settings_page
from everloop.serve.failures import status_of
from everloop.serve.metrics import FAMILIES
from everloop.serve.openapi import describe_api
from everloop.serve.standing import STANDING_FAMILIES
from everloop.serve.tally import Family

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "everloop"
TARGET = ROOT / "docs" / "reference"
FOUND = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, errors.EverloopError)]
CLASSES: dict[str, type[errors.EverloopError]] = {
    each.__name__: each for each in sorted(FOUND, key=lambda each: each.exit_status) if each is not errors.EverloopError
}
MADE = "This page is made from the code by `make docs`."
_WORDS = {Path: "PATH", int: "INTEGER", float: "NUMBER", datetime: "INSTANT"}


def main() -> None:
    """Write all pages."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (TARGET / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}", file=sys.stderr)


def pages() -> dict[str, str]:
    """The text of every page, by file name."""
    return {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "http.md": http_page(),
        "server-metrics.md": metrics_page(),
    }


def metrics_page() -> str:
    """Every metric that the server shows Prometheus."""
    lines = [
        "# Metrics of the server",
        "",
        MADE,
        "",
        "`GET /metrics` shows them to Prometheus. A histogram is a `_bucket`, a `_sum` and a `_count`.",
        "",
        *_metrics_table(FAMILIES),
        "",
        "## What the monitor found",
        "",
        "Read from the store when metrics are asked for; every tick of the loop writes it there. A series is there",
        "only while it has something to say: an alert while it is open, a bound where there is one.",
        "",
        *_metrics_table(STANDING_FAMILIES),
        "",
        "An alert for each open alert of the loop, and one where nobody has looked for drift for two days:",
        "",
        "```yaml",
        "groups:",
        "  - name: everloop",
        "    rules:",
        "      - alert: Everloop",
        "        expr: everloop_alert_open == 1",
        "      - alert: EverloopBlind",
        "        expr: time() - everloop_drift_looked_timestamp_seconds > 2 * 86400",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _metrics_table(families: Iterable[Family]) -> list[str]:
    kinds = {"highest": "gauge", "info": "gauge"}
    rows = [
        f"| `{each.name}{'_total' if each.kind == 'counter' else ''}` | {kinds.get(each.kind, each.kind)} | "
        f"{', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
        for each in families
    ]
    return ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows]


def commands_page() -> str:
    """Every command with its help, arguments and options."""
    lines = [
        "# Commands",
        "",
        "`everloop COMMAND --help` prints the same. Data go to standard output, talk to standard error. "
        "[Exit statuses](errors.md) tell failures apart. " + MADE,
        "",
        "| command | does |",
        "| --- | --- |",
    ]
    lines += [f"| [`{each.name}`](#everloop-{each.name}) | {each.summary} |" for each in COMMANDS]
    for each in COMMANDS:
        lines += _command_section(each.name)
    return "\n".join(lines) + "\n"


def _command_section(name: str) -> list[str]:
    command = importlib.import_module(f"everloop.cli.{name}").command
    body, _, example = inspect.cleandoc(command.__doc__ or "").partition("Example: ")
    lines = ["", f"## everloop {name}", "", body.strip()]
    if example:
        lines += ["", "```sh", example.strip(), "```"]
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters.values()
    rows = [_parameter(each.name, hints[each.name], each.default) for each in parameters]
    return [*lines, "", "| option | default | meaning |", "| --- | --- | --- |", *rows]


def _parameter(name: str, hint: Any, default: Any) -> str:
    base, info = get_args(hint)[:2]
    metavar = info.metavar or ("" if base is bool else _type_name(base))
    if isinstance(info, ArgumentInfo):
        shown = f"`{info.metavar or name.upper()}`"
    else:
        # of typer.Option("--port", "-p") within Annotated the first name lies where a default otherwise does
        first = (info.default,) if isinstance(info.default, str) else ()
        options = (*first, *(info.param_decls or ())) or (f"--{name.strip('_').replace('_', '-')}",)
        shown = ", ".join(f"`{option} {metavar}`" if metavar else f"`{option}`" for option in options)
    if default is inspect.Parameter.empty:
        cell = "required"
    else:
        cell = "" if default is None or default is False or default == "" else f"`{default}`"
    return "| " + " | ".join(_cell(each) for each in (shown, cell, info.help or "")) + " |"


def _type_name(hint: Any) -> str:
    """A word for what an option takes."""
    kinds = [each for each in get_args(hint) if each is not NoneType] or [hint]
    inner = get_args(kinds[0])
    found = inner[0] if inner else kinds[0]
    return _WORDS.get(found, "TEXT")


@dataclass(frozen=True, slots=True, order=True)
class Raised:
    """One place where an error is made; what varies in its sentence stands as ``...``."""

    kind: str
    code: str
    message: str
    where: str


def errors_page() -> str:
    """Every error code, with its class, statuses, sentence and places."""
    lines = [
        "# Errors",
        "",
        "Every failure has one shape: a stable code, a sentence, a hint that says what to do next, and the path of",
        "the key, field or file that it is about. The command line prints it to standard error and ends with the exit",
        "status of the class; with `--json`, and over HTTP, it is",
        '`{"error": {"code", "message", "hint", "path"}}`. ' + MADE,
        "",
        "| class | exit status | HTTP status | means |",
        "| --- | --- | --- | --- |",
    ]
    for name, found in CLASSES.items():
        meaning = (inspect.getdoc(found) or "").splitlines()[0].replace("``", "`")
        lines.append(f"| `{name}` | {found.exit_status} | {status_of(found('', ''))} | {meaning} |")
    lines += [
        "",
        "Exit status 0 is success, 130 an interruption by Ctrl-C, and 1 a command whose answer is no: `tick` with a",
        "stage that failed, `trace --repeat` with other numbers. The HTTP status holds for what a request can cause.",
    ]
    raised = sorted(set(find_raised()))
    for name in CLASSES:
        codes = sorted({each.code for each in raised if each.kind == name})
        if not codes:
            continue
        lines += ["", f"## {name}", "", "| code | HTTP | says | where |", "| --- | --- | --- | --- |"]
        lines += [
            _error_row(code, [each for each in raised if (each.kind, each.code) == (name, code)]) for code in codes
        ]
    return "\n".join(lines) + "\n"


def _error_row(code: str, places: list[Raised]) -> str:
    status = status_of(CLASSES[places[0].kind](code, ""))
    sentences = list(dict.fromkeys(each.message for each in places if each.message))
    where = sorted({each.where for each in places})
    cells = (f"`{code}`", str(status), "; or: ".join(sentences), ", ".join(f"`{each}`" for each in where))
    return "| " + " | ".join(_cell(each) for each in cells) + " |"


def find_raised() -> Iterator[Raised]:
    """Every error that the package makes, found by reading its code."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        where = path.relative_to(SOURCE).with_suffix("").as_posix()
        makers = _makers(tree)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if name in CLASSES:
                kind, code_at, message_at = name, 0, 1
            elif name in makers:
                kind, code_at, message_at = makers[name]
            else:
                continue
            code = call.args[code_at] if len(call.args) > code_at else None
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                message = call.args[message_at] if len(call.args) > message_at else None
                yield Raised(kind, code.value, _sentence(message), where)


def _makers(tree: ast.Module) -> dict[str, tuple[str, int, int]]:
    """Functions that make an error of a code they are given: its class, and where code and sentence stand."""
    found = {}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = [each.arg for each in function.args.args if each.arg not in ("self", "cls")]
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            kind = getattr(call.func, "id", "")
            if kind in CLASSES and call.args and getattr(call.args[0], "id", None) in names:
                code_at = names.index(call.args[0].id)  # type: ignore[attr-defined]
                found[function.name] = (kind, code_at, code_at + 1)
    return found


def _sentence(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    return ""


def http_page() -> str:
    """Every path, and the fields of what is sent and answered."""
    api = describe_api("NAME")
    lines = [
        "# HTTP",
        "",
        "`NAME` is the project's name. " + api["info"]["description"] + " A running server describes itself at",
        "`/openapi.json`. See [the tutorial](../tutorial.md) for requests with curl. " + MADE,
        "",
        "| method | path | does | body | answer |",
        "| --- | --- | --- | --- | --- |",
    ]
    statuses: dict[str, str] = {}
    for path, item in api["paths"].items():
        for method in ("get", "post"):
            if method not in item:
                continue
            operation = item[method]
            answers = operation["responses"]
            statuses |= {code: each["description"] for code, each in answers.items() if code != "200"}
            body = _schema_name(operation.get("requestBody", {}))
            cells = (method.upper(), f"`{path}`", operation["summary"], body, _schema_name(answers["200"]))
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## Statuses", "", "| status | means |", "| --- | --- |", "| 200 | The answer. |"]
    lines += [f"| {code} | {text} |" for code, text in sorted(statuses.items())]
    for name, schema in api["components"]["schemas"].items():
        lines += _schema_section(name, schema)
    return "\n".join(lines) + "\n"


def _schema_name(content: dict[str, Any]) -> str:
    reference = content.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
    name = reference.rpartition("/")[2]
    return f"[{name}](#{name.lower()})" if name else ""


def _schema_section(name: str, schema: dict[str, Any]) -> list[str]:
    text = inspect.cleandoc(schema.get("description", "")).replace("``", "`")
    text, _, attributes = text.partition("Attributes:")
    meanings = _attributes(attributes)
    lines = [
        "",
        f"## {name}",
        "",
        text.strip(),
        "",
        "| field | type | required | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for field, shape in schema.get("properties", {}).items():
        required = "yes" if field in schema.get("required", []) else ""
        cells = (f"`{field}`", _shape(shape), required, meanings.get(field, ""))
        lines.append("| " + " | ".join(_cell(each) for each in cells) + " |")
    return lines


def _attributes(text: str) -> dict[str, str]:
    """The meanings of fields in a docstring's part ``Attributes:``."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(text).splitlines():
        if line and not line.startswith(" "):
            name, _, line = line.partition(":")
        found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


def _shape(shape: dict[str, Any]) -> str:
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in shape:
        return " or ".join(_shape(each) for each in shape["anyOf"])
    if shape.get("type") == "array":
        return f"list of {_shape(shape.get('items', {}))}"
    return str(shape.get("type", "any"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
