"""The machine code, in LLVM's language, that walks rows one by one through many trees at once."""

from __future__ import annotations

from everloop.models.compiled.memory import LANES, loads

__all__ = ["walk"]


def walk(bits: int, *, has_categories: bool) -> str:
    """The function that takes model, rows, their count, room for sums of shape ``(n, outputs)``, and scratch."""
    lanes = range(LANES)
    numbers = "\n".join(
        f"""  %entry.{lane}.at = getelementptr [4 x i32], ptr %group.at, i64 {lane}
  %base.{lane}.narrow = load i32, ptr %entry.{lane}.at
  %base.{lane} = zext i32 %base.{lane}.narrow to i64
  %root.{lane} = getelementptr i64, ptr %nodes, i64 %base.{lane}"""
        for lane in lanes
    )
    phis = "\n".join(f"  %at.{lane} = phi i64 [ 0, %group ], [ %next.{lane}, %step ]" for lane in lanes)
    steps = "\n".join(_walk_step(bits, lane, has_categories=has_categories) for lane in lanes)
    adds = "\n".join(
        f"""  %inner.{lane}.at = getelementptr i32, ptr %entry.{lane}.at, i64 1
  %inner.{lane}.narrow = load i32, ptr %inner.{lane}.at
  %inner.{lane} = zext i32 %inner.{lane}.narrow to i64
  %first.{lane}.at = getelementptr i32, ptr %entry.{lane}.at, i64 2
  %first.{lane}.narrow = load i32, ptr %first.{lane}.at
  %first.{lane} = zext i32 %first.{lane}.narrow to i64
  %leaf.{lane}.own = sub i64 %at.{lane}, %inner.{lane}
  %leaf.{lane}.place = add i64 %leaf.{lane}.own, %first.{lane}
  %leaf.{lane}.at = getelementptr double, ptr %values, i64 %leaf.{lane}.place
  %leaf.{lane} = load double, ptr %leaf.{lane}.at"""
        for lane in lanes
    )
    one = "\n".join(
        f"  %sum.{lane} = fadd double {'%sum' if lane == 0 else f'%sum.{lane - 1}'}, %leaf.{lane}" for lane in lanes
    )
    several = "\n".join(
        f"""  %k.{lane}.at = getelementptr double, ptr %sums, i64 {"%k" if lane == 0 else f"%k.{lane}"}
  %k.{lane}.old = load double, ptr %k.{lane}.at
  %k.{lane}.new = fadd double %k.{lane}.old, %leaf.{lane}
  store double %k.{lane}.new, ptr %k.{lane}.at
  %k.{lane}.more = add i64 {"%k" if lane == 0 else f"%k.{lane}"}, 1
  %k.{lane}.is_round = icmp eq i64 %k.{lane}.more, %outputs
  %k.{lane + 1} = select i1 %k.{lane}.is_round, i64 0, i64 %k.{lane}.more"""
        for lane in lanes
    )
    return f"""
declare i64 @llvm.cttz.i64(i64, i1)
define void @walk(ptr %m, ptr %x, i64 %n, ptr %out, ptr %scratch) #0 {{
entry:
{loads("trees", "outputs", "features", "nodes", "values", "table", "sets", "set_bytes", "numeric")}
  %is_one = icmp eq i64 %outputs, 1
  br label %row
row:
  %i = phi i64 [ 0, %entry ], [ %i.next, %row.done ]
  %is_some = icmp slt i64 %i, %n
  br i1 %is_some, label %code, label %done
code:
  %row.offset = mul i64 %i, %features
  %row.at = getelementptr double, ptr %x, i64 %row.offset
  call void @encode(ptr %m, ptr %row.at, ptr %scratch, i64 1)
  %sums.offset = mul i64 %i, %outputs
  %sums = getelementptr double, ptr %out, i64 %sums.offset
  br label %clear
clear:
  %z = phi i64 [ 0, %code ], [ %z.next, %clear ]
  %z.at = getelementptr double, ptr %sums, i64 %z
  store i64 0, ptr %z.at
  %z.next = add i64 %z, 1
  %is_clear = icmp eq i64 %z.next, %outputs
  br i1 %is_clear, label %group, label %clear
group:
  %t = phi i64 [ 0, %clear ], [ %t.next, %added ]
  %k = phi i64 [ 0, %clear ], [ %k.next, %added ]
  %sum = phi double [ 0.0, %clear ], [ %sum.next, %added ]
  %group.at = getelementptr [4 x i32], ptr %table, i64 %t
{numbers}
  %depth.at = getelementptr i32, ptr %group.at, i64 3
  %depth = load i32, ptr %depth.at
  br label %level
level:
{phis}
  %d = phi i32 [ %depth, %group ], [ %d.next, %step ]
  %is_deeper = icmp ne i32 %d, 0
  br i1 %is_deeper, label %step, label %leaves
step:
{steps}
  %d.next = sub i32 %d, 1
  br label %level
leaves:
{adds}
  br i1 %is_one, label %add.one, label %add.several
add.one:
{one}
  br label %added
add.several:
{several}
  br label %added
added:
  %sum.next = phi double [ %sum.{LANES - 1}, %add.one ], [ %sum, %add.several ]
  %k.next = phi i64 [ 0, %add.one ], [ %k.{LANES}, %add.several ]
  %t.next = add i64 %t, {LANES}
  %is_grown = icmp uge i64 %t.next, %trees
  br i1 %is_grown, label %row.sum, label %group
row.sum:
  br i1 %is_one, label %row.one, label %row.done
row.one:
  store double %sum.next, ptr %sums
  br label %row.done
row.done:
  %i.next = add i64 %i, 1
  br label %row
done:
  ret void
}}
"""


def _walk_step(bits: int, lane: int, *, has_categories: bool) -> str:
    """One level down in one tree; a leaf's node leads to itself."""
    name = f"{lane}"
    head = f"""  %node.{name}.at = getelementptr i64, ptr %root.{name}, i64 %at.{name}
  %node.{name} = load i64, ptr %node.{name}.at
  %column.{name} = and i64 %node.{name}, 65535
  %limit.{name}.shifted = lshr i64 %node.{name}, 16
  %limit.{name} = and i64 %limit.{name}.shifted, 65535
  %code.{name}.at = getelementptr i{bits}, ptr %scratch, i64 %column.{name}
  %code.{name}.narrow = load i{bits}, ptr %code.{name}.at
  %code.{name} = zext i{bits} %code.{name}.narrow to i64
  %is_above.{name} = icmp ugt i64 %code.{name}, %limit.{name}"""
    goes = f"%is_above.{name}"
    if has_categories:
        # a number's node reads the first set, and does not look at what it says
        head += f"""
  %is_set.{name} = icmp uge i64 %column.{name}, %numeric
  %set.{name} = select i1 %is_set.{name}, i64 %limit.{name}, i64 0
  %set.{name}.offset = mul i64 %set.{name}, %set_bytes
  %byte.{name}.own = lshr i64 %code.{name}, 3
  %byte.{name}.here = select i1 %is_set.{name}, i64 %byte.{name}.own, i64 0
  %byte.{name}.place = add i64 %set.{name}.offset, %byte.{name}.here
  %byte.{name}.at = getelementptr i8, ptr %sets, i64 %byte.{name}.place
  %byte.{name} = load i8, ptr %byte.{name}.at
  %byte.{name}.wide = zext i8 %byte.{name} to i64
  %bit.{name}.place = and i64 %code.{name}, 7
  %bit.{name} = lshr i64 %byte.{name}.wide, %bit.{name}.place
  %bit.{name}.one = trunc i64 %bit.{name} to i1
  %is_out.{name} = xor i1 %bit.{name}.one, true
  %is_right.{name} = select i1 %is_set.{name}, i1 %is_out.{name}, i1 %is_above.{name}"""
        goes = f"%is_right.{name}"
    return f"""{head}
  %side.{name} = zext i1 {goes} to i64
  %side.{name}.16 = shl i64 %side.{name}, 4
  %shift.{name} = add i64 %side.{name}.16, 32
  %child.{name} = lshr i64 %node.{name}, %shift.{name}
  %next.{name} = and i64 %child.{name}, 65535"""
