"""``everloop adopt``: a model that was trained elsewhere becomes a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import print_json, print_record, say
from everloop.core.clock import SystemClock
from everloop.core.errors import UsageError
from everloop.release.adopt import Partition, adopt_model
from everloop.release.bundle import Release


def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="An MLflow model's folder, runs:/... or models:/..., or a model's own file (.txt, .json, .ubj, "
            ".onnx); with --by several, each as VALUE=SOURCE.",
        ),
    ],
    by: Annotated[
        str, typer.Option("--by", metavar="COLUMN", help="The column by whose value a row finds its model.")
    ] = "",
    example: Annotated[
        Path | None,
        typer.Option("--example", help="A CSV or JSON file with rows to ask; it names and types a file's columns."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            metavar="OUTPUT=VALUE",
            help="What is answered where the model fails; once for each output. Without it such a request is refused.",
        ),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Let code from the model's files run, here and in servers.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "",
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a release of a model trained elsewhere; then: everloop promote DIGEST, everloop serve.

    Example: everloop adopt runs:/3f9a2c/model
    """
    with opened(project, set_) as (found, store):
        release = adopt_model(
            found,
            store,
            SystemClock(),
            _partition(by, sources) if by else _single(sources),
            example=example,
            baseline=_pairs(baseline or []),
            allow_pickle=allow_pickle,
            actor=actor(),
            reason=reason,
        )
    if as_json:
        tree = {"release": release.digest, "folder": release.folder}
        print_json(tree | {"manifest": msgspec.to_builtins(release.manifest)})
        return
    _tell(release)


def _pairs(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name in found:
            problem = "is given twice" if name in found else "gives no value"
            raise UsageError("baseline_value", f"{text!r} {problem}", hint="write --baseline OUTPUT=VALUE")
        found[name] = value
    return found


def _single(sources: list[str]) -> str:
    if len(sources) > 1:
        raise UsageError(
            "sources_many",
            "several models of one release need a column that tells them apart",
            hint="everloop adopt --by COLUMN VALUE=SOURCE VALUE=SOURCE",
        )
    return sources[0]


def _partition(column: str, sources: list[str]) -> Partition:
    found: dict[str, str] = {}
    for text in sources:
        value, equals, source = text.partition("=")
        if not equals or not source or value in found:
            problem = "is given twice" if value in found else "names no value"
            raise UsageError("sources_by", f"{text!r} {problem}", hint="write VALUE=SOURCE, once for each value")
        found[value] = source
    return Partition(column, found)


def _tell(release: Release) -> None:
    manifest = release.manifest
    signature = manifest.signature
    if signature is None:
        return
    inputs = [f"{each.name} {each.type}" for each in signature.columns]
    inputs += [f"{each.name} {each.dtype}{list(each.shape)}" for each in signature.tensors]
    outputs = [f"{each.name} {each.dtype}{list(each.shape) if each.shape else ''}" for each in signature.outputs]
    print_record(
        {
            "release": release.digest,
            "model": f"{manifest.flavor}, {manifest.model_digest[:12]}",
            "takes": ", ".join(inputs),
            "gives": ", ".join(outputs),
            "bundle": release.folder,
        }
    )
    say(f"put it in charge: everloop promote {release.digest[:12]}")
