"""Machine code brought into this process: compiled by a process of its own, placed, and made executable.

What is compiled depends on the processor alone, not on a model, takes some tenths of a second in the other process, and
is some kilobytes long. It is kept for as long as this process lives, and in no file: code that runs should not
lie where others could write.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import platform
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from everloop.core.errors import UnavailableError

__all__ = ["Kernels", "is_available", "kernels", "linked", "placed"]

_LONGEST_SECONDS = 60.0
_ALLOCATED, _SYMBOLS, _RELOCATIONS = 0x2, 2, 4
_RELATIVE = (2, 4)
"""R_X86_64_PC32 and R_X86_64_PLT32: the place of a symbol as seen from the instruction (System V ABI, AMD64, 4.4)."""
_FILE = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

Function = Callable[[int, int, int, int, int], None]
"""Of the addresses of model, rows, count of rows, output and scratch."""


@dataclass(frozen=True)
class Kernels:
    """The two ways through the trees; both leave Python's lock while they run.

    Attributes:
        block: rows in blocks of 64.
        walk: rows one by one.
        memory: where the code lies.
    """

    block: Function
    walk: Function
    memory: mmap.mmap


_made: dict[tuple[int, bool], Kernels] = {}
_making = threading.Lock()


def is_available() -> bool:
    """Whether code can be compiled here: llvmlite is installed, and this is Linux on x86-64."""
    is_known = sys.platform == "linux" and platform.machine() == "x86_64" and bool(sys.executable)
    return is_known and importlib.util.find_spec("llvmlite") is not None


def kernels(bits: int, *, has_categories: bool) -> Kernels:
    """The kernels for codes of so many bits; the first call takes some tenths of a second.

    Raises:
        UnavailableError: they cannot be compiled or run here.
    """
    with _making:
        variant = (bits, has_categories)
        if variant not in _made:
            code, places = linked(_compiled(bits, has_categories=has_categories))
            _made[variant] = placed(code, places)
        return _made[variant]


def _compiled(bits: int, *, has_categories: bool) -> bytes:
    if not is_available():
        raise _unavailable("llvmlite is not installed, or this is not Linux on x86-64")
    # -P: a module in the working directory must not stand in for one of ours
    command = [sys.executable, "-P", "-m", "everloop.models.compiled.kernel", str(bits), str(int(has_categories))]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LONGEST_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _unavailable(f"the compiler cannot be run: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise _unavailable(f"the compiler failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout


def linked(file: bytes) -> tuple[bytes, dict[str, int]]:
    """The code and constants of an object file as one piece that runs at any address, and where its functions start.

    Raises:
        UnavailableError: the file is another kind, or its code refers to what it does not hold.
    """
    if len(file) < _FILE.size or file[:6] != b"\x7fELF\x02\x01":
        raise _unavailable("the compiler made no ELF file of 64 bits")
    head = _FILE.unpack_from(file)
    sections = [_SECTION.unpack_from(file, head[6] + place * _SECTION.size) for place in range(head[12])]
    starts: dict[int, int] = {}
    image = bytearray()
    for place, (_, _, flags, _, offset, size, _, _, alignment, _) in enumerate(sections):
        if flags & _ALLOCATED:
            image += bytes(-len(image) % max(alignment, 1))
            starts[place] = len(image)
            image += file[offset : offset + size]
    symbols: list[tuple[str, int | None]] = []
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind == _SYMBOLS:
            names = sections[link][4]
            for at in range(offset, offset + size, _SYMBOL.size):
                name, _, _, section, value, _ = _SYMBOL.unpack_from(file, at)
                start = starts.get(section)
                text = file[names + name : file.index(b"\0", names + name)].decode()
                symbols.append((text, None if start is None else start + value))
    for _, kind, _, _, offset, size, _, target, _, _ in sections:
        if kind == _RELOCATIONS and target in starts:
            for at in range(offset, offset + size, _RELOCATION.size):
                where, info, addend = _RELOCATION.unpack_from(file, at)
                place = starts[target] + where
                found = symbols[info >> 32][1]
                if info & 0xFFFFFFFF not in _RELATIVE or found is None:
                    raise _unavailable(f"the compiled code needs relocation {info & 0xFFFFFFFF}")
                struct.pack_into("<i", image, place, found + addend - place)
    return bytes(image), {name: place for name, place in symbols if name and place is not None}


def placed(code: bytes, places: dict[str, int]) -> Kernels:
    """Code in memory of its own, which is never writable and executable at once.

    Raises:
        UnavailableError: the system lets no new code run.
    """
    try:
        memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE)
        memory.write(code)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        library = ctypes.CDLL(None, use_errno=True)
        size = -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE
        readable = ctypes.c_int(mmap.PROT_READ | mmap.PROT_EXEC)
        if library.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(size), readable):
            raise OSError(ctypes.get_errno(), "the system lets no new code run")
    except OSError as error:
        raise _unavailable(str(error)) from error
    make = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64, *[ctypes.c_void_p] * 2)
    return Kernels(make(start + places["block"]), make(start + places["walk"]), memory)


def _unavailable(reason: str) -> UnavailableError:
    return UnavailableError(
        "compiled_unavailable", reason, hint="models answer by their own libraries; see the setting serve.compile"
    )
