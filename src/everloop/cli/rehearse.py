"""``everloop rehearse``: a release is loaded and asked as a server would."""

from __future__ import annotations

from typing import Annotated

import typer

from everloop.cli.examinations import print_gates
from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_record
from everloop.core.clock import SystemClock
from everloop.core.errors import GateError
from everloop.release.bundle import open_release
from everloop.release.rehearsed import last_rehearsal
from everloop.staging.rehearsal import rehearse
from everloop.store.deployments import find_release
from everloop.validate.gates.result import blocking


def command(
    name: Annotated[str, typer.Argument(help="A digest, the beginning of one, 'champion' or 'challenger'.")],
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a release in a fresh process as a server does, ask it, and hold what it says against the trained model.

    Latency and memory are measured anew, and judged where validate.gates sets a limit. The newest rehearsal is what
    everloop promote goes by. Exit status 6 says that the release did not pass.

    Example: everloop rehearse 3f9a2c --set validate.gates.max_latency_ms=50
    """
    with opened(project, set_) as (found, store):
        with store.read() as tx:
            digest = find_release(tx, name).digest
        release = open_release(found.releases / digest, digest=digest)
        gates = rehearse(found, store, SystemClock(), release, is_timed=True)
        with store.read() as tx:
            record = last_rehearsal(tx, digest) or {}
    figures = record.get("figures", {})
    if as_json:
        print_json({"release": digest, "figures": figures, "gates": [gate.to_dict() for gate in gates]})
    else:
        print_record({"release": digest} | figures)
        print_gates([gate.to_dict() for gate in gates])
    stopped = blocking(gates)
    if stopped:
        names = ", ".join(gate.name for gate in stopped)
        raise GateError(
            "gates_failed",
            f"release {digest[:12]} failed {names}: {stopped[0].message}",
            hint="what each gate asks: docs/reference/gates.md",
        )
