"""Machine code is linked and placed, or refused with a reason."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest

from everloop.core.errors import UnavailableError
from everloop.models.compiled import machine
from everloop.models.compiled.kernel import object_code

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="no compiler for this machine")

PROCESSORS = ("x86-64", "x86-64-v2", "haswell", "skylake-avx512", "znver4")


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_the_code_of_each_processor_is_one_piece(cpu: str) -> None:
    for bits in (8, 16):
        for has_categories in (False, True):
            code, places = machine.linked(object_code(bits, has_categories=has_categories, cpu=cpu))
            assert {"block", "walk"} <= set(places)
            assert all(0 <= place < len(code) for place in places.values())


def test_other_files_are_refused() -> None:
    for file in (b"", b"MZ" * 99, b"\x7fELF\x01\x01" + bytes(200)):
        with pytest.raises(UnavailableError, match="ELF"):
            machine.linked(file)


def test_code_that_calls_what_it_does_not_hold_is_refused() -> None:
    from llvmlite import binding

    module = binding.parse_assembly(
        "declare void @gone()\ndefine void @block() {\n  call void @gone()\n  ret void\n}\n"
    )
    target = binding.Target.from_triple(binding.get_default_triple())
    file = target.create_target_machine(reloc="pic", codemodel="small").emit_object(module)
    with pytest.raises(UnavailableError, match="relocation"):
        machine.linked(file)


def test_a_compiler_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_made", {})
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UnavailableError, match="cannot be run"):
        machine.kernels(8, has_categories=False)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UnavailableError, match="exit status 1"):
        machine.kernels(8, has_categories=False)


def test_the_compilers_process_writes_an_object_file() -> None:
    command = [sys.executable, "-m", "everloop.models.compiled.kernel", "16", "1"]
    file = subprocess.run(command, capture_output=True, check=True).stdout
    assert struct.unpack_from("<16sHH", file)[1:] == (1, 62)  # relocatable, for x86-64


def test_the_compiler_is_not_imported_by_who_uses_its_code() -> None:
    code = (
        "import sys; from everloop.models.compiled import machine, trial; machine.kernels(8, has_categories=False);"
        "found = {'llvmlite', 'lightgbm', 'pandas', 'sklearn'} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
