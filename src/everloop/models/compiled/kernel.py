"""The machine code that walks through trees, made by LLVM: one for all models, since trees are its data.

    python -m everloop.models.compiled.kernel 8 0

writes the object file of the kernels for codes of 8 bits and trees without categories. It is run as a process of its
own (:mod:`everloop.models.compiled.machine`): LLVM takes some 65 MB of memory, and a server keeps none of them.

Rows are first turned into codes: a feature's thresholds in all trees, sorted, cut its values into intervals, and the
number of the interval says all that any tree asks of the value (Lucchese et al. 2015, "QuickScorer", sort thresholds
likewise). Then ``x <= threshold`` is a comparison of small whole numbers. Two kernels follow:

* ``block`` takes 64 rows at once through every node of a tree. A node holds the set of rows that reach it; one vector
  comparison parts them into those of its left and of its right child. No branch depends on the data, and a tree's
  nodes are read once for 64 rows.
* ``walk`` takes one row through 16 trees at once, one level a step, so that the memory's latency is waited for once.

Both add the leaves' values in the order of the trees, as the library does, so that sums have the same bits.
"""

from __future__ import annotations

import sys

from everloop.models.compiled.blocks import block
from everloop.models.compiled.encoding import encode
from everloop.models.compiled.walking import walk

__all__ = ["assemble", "object_code"]


def assemble(bits: int, *, has_categories: bool, has_masks: bool) -> str:
    """The kernels in LLVM's language.

    Args:
        bits: of a code, and of a leaf's number in its tree: 8 or 16.
        has_categories: whether trees ask for sets of categories.
        has_masks: whether the processor compares 64 bytes into 64 bits (AVX-512BW); otherwise sets of rows are held
            as bytes, or words, that are all ones or zeros.
    """
    return "\n".join(
        (
            encode(bits),
            block(bits, has_categories=has_categories, has_masks=has_masks),
            walk(bits, has_categories=has_categories),
            'attributes #0 = { nounwind "no-builtins" }',
        )
    )


def object_code(bits: int, *, has_categories: bool, cpu: str = "") -> bytes:
    """The kernels as an object file (ELF) for this machine's processor, or for a named one of the same kind.

    Raises:
        ImportError: llvmlite is not installed.
    """
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = "" if cpu else binding.get_host_cpu_features().flatten()
    has_masks = "+avx512bw" in features.split(",")
    triple = binding.get_default_triple()
    machine = binding.Target.from_triple(triple).create_target_machine(
        cpu=cpu or binding.get_host_cpu_name(), features=features, opt=3, reloc="pic", codemodel="small"
    )
    module = binding.parse_assembly(assemble(bits, has_categories=has_categories, has_masks=has_masks))
    module.triple = triple
    module.verify()
    code: bytes = machine.emit_object(module)
    return code


def _main() -> None:
    bits, has_categories = int(sys.argv[1]), sys.argv[2] == "1"
    sys.stdout.buffer.write(object_code(bits, has_categories=has_categories))


if __name__ == "__main__":
    _main()
