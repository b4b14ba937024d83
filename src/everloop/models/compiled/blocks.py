"""The machine code, in LLVM's language, that takes blocks of rows through the trees."""

from __future__ import annotations

from everloop.models.compiled.memory import BLOCK, loads

__all__ = ["block"]


def block(bits: int, *, has_categories: bool, has_masks: bool) -> str:
    """The function that takes model, rows, their count, room for sums of shape ``(n, outputs)``, and scratch."""
    vector = f"<{BLOCK} x i{bits}>"
    bools = f"<{BLOCK} x i1>"
    rows = "i64" if has_masks else vector  # a set of the block's rows
    everyone = "-1" if has_masks else f"splat (i{bits} -1)"
    width = 8 if has_masks else bits // 8 * BLOCK
    to_rows = f"bitcast {bools}" if has_masks else f"sext {bools}"
    if has_masks:
        pick = f"""
  %members = bitcast i64 %arrived to {bools}
  %id.next = select {bools} %members, {vector} %leaf.all, {vector} %id"""
    else:
        pick = f"""
  %here = and {vector} %arrived, %leaf.all
  %id.next = or {vector} %id, %here"""
    return f"""
define void @block(ptr %m, ptr %x, i64 %n, ptr %out, ptr %scratch) #0 {{
entry:
{loads("trees", "outputs", "columns", "features", "nodes", "values", "table", "sets", "set_bytes", "numeric")}
{loads("masks", "scores", "ids")}
  %sets_of_rows = getelementptr i8, ptr %scratch, i64 %masks
  %score = getelementptr i8, ptr %scratch, i64 %scores
  %id.at = getelementptr i8, ptr %scratch, i64 %ids
  %cells = mul i64 %outputs, {BLOCK}
  br label %chunk
chunk:
  %from = phi i64 [ 0, %entry ], [ %from.next, %written ]
  %from.next = add i64 %from, {BLOCK}
  %rest = sub i64 %n, %from
  %is_full = icmp sgt i64 %rest, {BLOCK}
  %here.n = select i1 %is_full, i64 {BLOCK}, i64 %rest
  %is_some = icmp sgt i64 %rest, 0
  br i1 %is_some, label %code, label %done
code:
  %i = phi i64 [ 0, %chunk ], [ %i.next, %code ]
  %row = add i64 %from, %i
  %row.offset = mul i64 %row, %features
  %row.at = getelementptr double, ptr %x, i64 %row.offset
  %row.codes = getelementptr i{bits}, ptr %scratch, i64 %i
  call void @encode(ptr %m, ptr %row.at, ptr %row.codes, i64 {BLOCK})
  %i.next = add i64 %i, 1
  %is_coded = icmp eq i64 %i.next, %here.n
  br i1 %is_coded, label %clear, label %code
clear:
  %z = phi i64 [ 0, %code ], [ %z.next, %clear ]
  %z.at = getelementptr double, ptr %score, i64 %z
  store i64 0, ptr %z.at
  %z.next = add i64 %z, 1
  %is_clear = icmp eq i64 %z.next, %cells
  br i1 %is_clear, label %tree, label %clear
tree:
  %t = phi i64 [ 0, %clear ], [ %t.next, %added ]
  %k = phi i64 [ 0, %clear ], [ %k.next, %added ]
  %entry.at = getelementptr [4 x i32], ptr %table, i64 %t
  %base.narrow = load i32, ptr %entry.at
  %inner.at = getelementptr i32, ptr %entry.at, i64 1
  %inner.narrow = load i32, ptr %inner.at
  %leaf.at = getelementptr i32, ptr %entry.at, i64 2
  %leaf.narrow = load i32, ptr %leaf.at
  %base = zext i32 %base.narrow to i64
  %inner = zext i32 %inner.narrow to i64
  %first_leaf = zext i32 %leaf.narrow to i64
  %root = getelementptr i64, ptr %nodes, i64 %base
  store {rows} {everyone}, ptr %sets_of_rows
  %is_split = icmp ne i64 %inner, 0
  br i1 %is_split, label %node, label %leaf
node:
  %j = phi i64 [ 0, %tree ], [ %j.next, %parted ]
  %node.at = getelementptr i64, ptr %root, i64 %j
  %node.is = load i64, ptr %node.at
  %column = and i64 %node.is, 65535
  %limit.shifted = lshr i64 %node.is, 16
  %left.shifted = lshr i64 %node.is, 32
  %left = and i64 %left.shifted, 65535
  %right = lshr i64 %node.is, 48
  %column.offset = mul i64 %column, {bits // 8 * BLOCK}
  %codes.at = getelementptr i8, ptr %scratch, i64 %column.offset
  %mine.at = getelementptr {rows}, ptr %sets_of_rows, i64 %j
  %mine = load {rows}, ptr %mine.at, align {width}
  {"%is_set = icmp uge i64 %column, %numeric" if has_categories else ""}
  {"br i1 %is_set, label %category, label %number" if has_categories else "br label %number"}
number:
  %limit = trunc i64 %limit.shifted to i{bits}
  %limit.one = insertelement {vector} poison, i{bits} %limit, i64 0
  %limit.all = shufflevector {vector} %limit.one, {vector} poison, <{BLOCK} x i32> zeroinitializer
  %codes = load {vector}, ptr %codes.at, align {bits // 8 * BLOCK}
  %is_left = icmp ule {vector} %codes, %limit.all
  %number.left = {to_rows} %is_left to {rows}
  br label %parted
{_category(bits, rows, to_rows, has_masks=has_masks) if has_categories else ""}
parted:
  %goes = phi {rows} [ %number.left, %number ]{", [ %category.left, %gathered ]" if has_categories else ""}
  %to_left = and {rows} %mine, %goes
  %to_right = xor {rows} %mine, %to_left
  %left.at = getelementptr {rows}, ptr %sets_of_rows, i64 %left
  %right.at = getelementptr {rows}, ptr %sets_of_rows, i64 %right
  store {rows} %to_left, ptr %left.at, align {width}
  store {rows} %to_right, ptr %right.at, align {width}
  %j.next = add i64 %j, 1
  %is_parted = icmp eq i64 %j.next, %inner
  br i1 %is_parted, label %leaf, label %node
leaf:
  %l = phi i64 [ 0, %tree ], [ 0, %parted ], [ %l.next, %leaf ]
  %id = phi {vector} [ zeroinitializer, %tree ], [ zeroinitializer, %parted ], [ %id.next, %leaf ]
  %slot = add i64 %inner, %l
  %arrived.at = getelementptr {rows}, ptr %sets_of_rows, i64 %slot
  %arrived = load {rows}, ptr %arrived.at, align {width}
  %leaf.number = trunc i64 %l to i{bits}
  %leaf.one = insertelement {vector} poison, i{bits} %leaf.number, i64 0
  %leaf.all = shufflevector {vector} %leaf.one, {vector} poison, <{BLOCK} x i32> zeroinitializer
{pick}
  %l.next = add i64 %l, 1
  %is_named = icmp ugt i64 %l.next, %inner
  br i1 %is_named, label %named, label %leaf
named:
  store {vector} %id.next, ptr %id.at, align {bits // 8 * BLOCK}
  %leaves = getelementptr double, ptr %values, i64 %first_leaf
  %output.offset = mul i64 %k, {BLOCK}
  %sums = getelementptr double, ptr %score, i64 %output.offset
  br label %add
add:
  %a = phi i64 [ 0, %named ], [ %a.next, %add ]
{_add_leaves(bits)}
  %a.next = add i64 %a, 8
  %is_added = icmp eq i64 %a.next, {BLOCK}
  br i1 %is_added, label %added, label %add
added:
  %k.more = add i64 %k, 1
  %is_round = icmp eq i64 %k.more, %outputs
  %k.next = select i1 %is_round, i64 0, i64 %k.more
  %t.next = add i64 %t, 1
  %is_grown = icmp eq i64 %t.next, %trees
  br i1 %is_grown, label %write, label %tree
write:
  %w = phi i64 [ 0, %added ], [ %w.next, %write.next ]
  %out.row = add i64 %from, %w
  %out.offset = mul i64 %out.row, %outputs
  br label %write.one
write.one:
  %o = phi i64 [ 0, %write ], [ %o.next, %write.one ]
  %o.offset = mul i64 %o, {BLOCK}
  %o.cell = add i64 %o.offset, %w
  %o.at = getelementptr double, ptr %score, i64 %o.cell
  %o.value = load double, ptr %o.at
  %o.place = add i64 %out.offset, %o
  %out.at = getelementptr double, ptr %out, i64 %o.place
  store double %o.value, ptr %out.at
  %o.next = add i64 %o, 1
  %is_row = icmp eq i64 %o.next, %outputs
  br i1 %is_row, label %write.next, label %write.one
write.next:
  %w.next = add i64 %w, 1
  %is_written = icmp eq i64 %w.next, %here.n
  br i1 %is_written, label %written, label %write
written:
  br label %chunk
done:
  ret void
}}
"""


def _add_leaves(bits: int) -> str:
    """Eight rows' leaf values added to their sums."""
    return "".join(
        f"""
  %a.{lane} = add i64 %a, {lane}
  %id.{lane}.at = getelementptr i{bits}, ptr %id.at, i64 %a.{lane}
  %id.{lane}.narrow = load i{bits}, ptr %id.{lane}.at
  %id.{lane} = zext i{bits} %id.{lane}.narrow to i64
  %leaf.{lane}.at = getelementptr double, ptr %leaves, i64 %id.{lane}
  %leaf.{lane} = load double, ptr %leaf.{lane}.at
  %sum.{lane}.at = getelementptr double, ptr %sums, i64 %a.{lane}
  %sum.{lane} = load double, ptr %sum.{lane}.at
  %new.{lane} = fadd double %sum.{lane}, %leaf.{lane}
  store double %new.{lane}, ptr %sum.{lane}.at"""
        for lane in range(8)
    )


def _category(bits: int, rows: str, to_rows: str, *, has_masks: bool) -> str:
    """A node that asks whether a code is in a set: the rows that reach it are looked up one by one."""
    bools = f"<{BLOCK} x i1>"
    if has_masks:
        reach, result = "  %reach = or i64 %mine, 0", "  %category.left = or i64 %members.all, 0"
    else:
        reach = f"""  %is_mine = icmp ne {rows} %mine, zeroinitializer
  %reach = bitcast {bools} %is_mine to i64"""
        result = f"""  %is_member = bitcast i64 %members.all to {bools}
  %category.left = {to_rows} %is_member to {rows}"""
    return f"""
category:
{reach}
  %set = and i64 %limit.shifted, 65535
  %set.offset = mul i64 %set, %set_bytes
  %set.at = getelementptr i8, ptr %sets, i64 %set.offset
  br label %look
look:
  %open = phi i64 [ %reach, %category ], [ %open.next, %member ]
  %members.all = phi i64 [ 0, %category ], [ %members.next, %member ]
  %is_open = icmp ne i64 %open, 0
  br i1 %is_open, label %member, label %gathered
member:
  %who = call i64 @llvm.cttz.i64(i64 %open, i1 true)
  %whose.at = getelementptr i{bits}, ptr %codes.at, i64 %who
  %whose = load i{bits}, ptr %whose.at
  %whose.wide = zext i{bits} %whose to i64
  %byte.place = lshr i64 %whose.wide, 3
  %byte.at = getelementptr i8, ptr %set.at, i64 %byte.place
  %byte = load i8, ptr %byte.at
  %bit.place = and i64 %whose.wide, 7
  %byte.wide = zext i8 %byte to i64
  %bit.shifted = lshr i64 %byte.wide, %bit.place
  %bit = and i64 %bit.shifted, 1
  %bit.moved = shl i64 %bit, %who
  %members.next = or i64 %members.all, %bit.moved
  %open.less = sub i64 %open, 1
  %open.next = and i64 %open, %open.less
  br label %look
gathered:
{result}
  br label %parted
"""
