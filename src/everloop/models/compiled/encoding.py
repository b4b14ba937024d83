"""The machine code, in LLVM's language, that turns a row into codes."""

from __future__ import annotations

from everloop.models.compiled.memory import loads

__all__ = ["encode"]

_TINY = 0x38AA95A5C0000000
"""The bits of 1e-35 as a 32-bit float: LightGBM takes what is no larger for zero."""
_INFINITY = 0x7FF0000000000000
_SIGN_LESS = 0x7FFFFFFFFFFFFFFF


def encode(bits: int) -> str:
    """One row's codes: of each column, how many of its cuts lie below the value; NaN and zero have codes of their own.

    The search has no branch that depends on the value. Zero and NaN are told by the bits of the number.
    """
    return f"""
define internal void @encode(ptr %m, ptr %x, ptr %codes, i64 %stride) #0 {{
entry:
{loads("columns", "cuts", "sources")}
  %is_any = icmp sgt i64 %columns, 0
  br i1 %is_any, label %column, label %done
column:
  %c = phi i64 [ 0, %entry ], [ %c.next, %found ]
  %source = getelementptr [6 x i32], ptr %sources, i64 %c
  %feature = load i32, ptr %source
  %start.at = getelementptr i32, ptr %source, i64 1
  %start = load i32, ptr %start.at
  %count.at = getelementptr i32, ptr %source, i64 2
  %count = load i32, ptr %count.at
  %nan.at = getelementptr i32, ptr %source, i64 3
  %nan = load i32, ptr %nan.at
  %zero.at = getelementptr i32, ptr %source, i64 4
  %zero = load i32, ptr %zero.at
  %feature.wide = sext i32 %feature to i64
  %start.wide = sext i32 %start to i64
  %count.wide = sext i32 %count to i64
  %value.at = getelementptr double, ptr %x, i64 %feature.wide
  %value = load double, ptr %value.at
  %first = getelementptr double, ptr %cuts, i64 %start.wide
  br label %search
search:
  %place = phi i64 [ 0, %column ], [ %place.next, %halve ]
  %left = phi i64 [ %count.wide, %column ], [ %left.next, %halve ]
  %is_more = icmp ugt i64 %left, 1
  br i1 %is_more, label %halve, label %found
halve:
  %half = lshr i64 %left, 1
  %probe.place = add i64 %place, %half
  %probe.before = sub i64 %probe.place, 1
  %probe.at = getelementptr double, ptr %first, i64 %probe.before
  %probe = load double, ptr %probe.at
  %is_below = fcmp olt double %probe, %value
  %below = sext i1 %is_below to i64
  %step = and i64 %below, %half
  %place.next = add i64 %place, %step
  %left.next = sub i64 %left, %half
  br label %search
found:
  %last.at = getelementptr double, ptr %first, i64 %place
  %last = load double, ptr %last.at
  %is_last = fcmp olt double %last, %value
  %last.one = zext i1 %is_last to i64
  %rank.wide = add i64 %place, %last.one
  %rank = trunc i64 %rank.wide to i32
  %number = bitcast double %value to i64
  %size = and i64 %number, {_SIGN_LESS}
  %is_zero = icmp ule i64 %size, {_TINY}
  %is_nan = icmp ugt i64 %size, {_INFINITY}
  %code.0 = select i1 %is_zero, i32 %zero, i32 %rank
  %code.1 = select i1 %is_nan, i32 %nan, i32 %code.0
  %code = trunc i32 %code.1 to i{bits}
  %offset = mul i64 %c, %stride
  %code.at = getelementptr i{bits}, ptr %codes, i64 %offset
  store i{bits} %code, ptr %code.at
  %c.next = add i64 %c, 1
  %is_next = icmp slt i64 %c.next, %columns
  br i1 %is_next, label %column, label %done
done:
  ret void
}}
"""
