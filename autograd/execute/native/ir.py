"""A builder for LLVM's text form, in which kernels read like the loops they are.

A `Value` is a number or a vector of them; Python's operators on values write instructions:

    f = module.function("axpy", I64, [I64, F64, PTR, PTR])
    n, a, x, y = f.arguments
    with f.range(n) as i:
        f.store(a * f.load(F64, x, i) + f.load(F64, y, i), y, i)

It knows nothing of NumPy or graphs. Why not llvmlite's own builder: that takes 4 us an instruction,
this one 0.5, and the text is needed even if the code is on disk, because it is the key. Python
numbers beside a value take its type.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

_SIZES = {"double": 8, "float": 4, "i64": 8, "i32": 4, "i8": 1, "i1": 1, "ptr": 8, "void": 0}
_MANGLED = {"double": "f64", "float": "f32", "i64": "i64", "i32": "i32", "i8": "i8", "i1": "i1"}


class Type:
    """A number's type, or (`lanes` > 0) that of a vector of them; one object for each."""

    __slots__ = ("is_float", "lanes", "mangled", "name", "scalar", "size")

    def __init__(self, scalar: str, lanes: int = 0) -> None:
        self.scalar = scalar
        self.lanes = lanes
        self.size = _SIZES[scalar]
        """The bytes of one lane."""
        self.is_float = scalar in ("double", "float")
        self.name = f"<{lanes} x {scalar}>" if lanes else scalar
        self.mangled = (f"v{lanes}" if lanes else "") + _MANGLED.get(scalar, scalar)
        """The name within the names of LLVM's intrinsic functions."""

    def __repr__(self) -> str:
        return self.name

    def of(self, scalar: Type) -> Type:
        """Return the type of as many lanes of another scalar type."""
        return vector(scalar, self.lanes) if self.lanes else scalar

    @property
    def element(self) -> Type:
        """The type of one lane."""
        return _scalar(self.scalar)

    @property
    def integer(self) -> Type:
        """The type of as many integers with as many bits."""
        return self.of(I64 if self.size == 8 else I32)

    @property
    def boolean(self) -> Type:
        """The type of what comparing two values of this type gives."""
        return self.of(I1)


F64, F32, I64, I32, I8, I1, PTR, VOID = map(
    Type, ("double", "float", "i64", "i32", "i8", "i1", "ptr", "void")
)
_SCALARS = {t.scalar: t for t in (F64, F32, I64, I32, I8, I1, PTR)}


def _scalar(name: str) -> Type:
    return _SCALARS[name]


@cache
def vector(scalar: Type, lanes: int) -> Type:
    """Return the type of `lanes` numbers side by side."""
    return Type(scalar.scalar, lanes)


@cache
def _literal(type: Type, number: float) -> str:
    if type.is_float:
        if type.scalar == "float":
            number = struct.unpack("f", struct.pack("f", number))[0]
        text = f"0x{struct.unpack('Q', struct.pack('d', number))[0]:016X}"
    else:
        text = str(int(number))
    return f"splat ({type.scalar} {text})" if type.lanes else text


class Value:
    """A number or a vector while a function runs."""

    __slots__ = ("f", "text", "type")

    def __init__(self, f: Function, type: Type, text: str) -> None:
        self.f = f
        self.type = type
        self.text = text

    def __repr__(self) -> str:
        return f"{self.type} {self.text}"

    def constant(self, number: float) -> Value:
        """Return a constant of the same type."""
        return Value(self.f, self.type, _literal(self.type, number))

    def like(self, other: Value | float) -> Value:
        """Return `other` itself, or a constant of this type if it is a Python number."""
        return other if isinstance(other, Value) else self.constant(other)

    def _binary(self, name: str, other: Value | float, swap: bool = False) -> Value:
        other = self.like(other)
        a, b = (other, self) if swap else (self, other)
        return self.f.emit(self.type, f"{name} {self.type.name} {a.text}, {b.text}")

    def _compare(self, float_name: str, integer_name: str, other: Value | float) -> Value:
        name = f"fcmp {float_name}" if self.type.is_float else f"icmp {integer_name}"
        text = f"{name} {self.type.name} {self.text}, {self.like(other).text}"
        return self.f.emit(self.type.boolean, text)

    def __add__(self, other: Value | float) -> Value:
        return self._binary("fadd" if self.type.is_float else "add", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._binary("fsub" if self.type.is_float else "sub", other)

    def __mul__(self, other: Value | float) -> Value:
        return self._binary("fmul" if self.type.is_float else "mul", other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._binary("fdiv", other)

    def __radd__(self, other: float) -> Value:
        return self + other

    def __rmul__(self, other: float) -> Value:
        return self * other

    def __rsub__(self, other: float) -> Value:
        return self._binary("fsub" if self.type.is_float else "sub", other, swap=True)

    def __rtruediv__(self, other: float) -> Value:
        return self._binary("fdiv", other, swap=True)

    def __floordiv__(self, other: Value | float) -> Value:
        """Divide integers, rounding towards zero."""
        return self._binary("sdiv", other)

    def __mod__(self, other: Value | float) -> Value:
        """Return what is left when integers are divided, with the sign of this one."""
        return self._binary("srem", other)

    def __neg__(self) -> Value:
        if self.type.is_float:
            return self.f.emit(self.type, f"fneg {self.type.name} {self.text}")
        return self._binary("sub", 0, swap=True)

    def __and__(self, other: Value | float) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | float) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Value | float) -> Value:
        return self._binary("xor", other)

    def __invert__(self) -> Value:
        return self._binary("xor", -1)

    def __lshift__(self, other: Value | float) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Value | float) -> Value:
        """Shift right, filling with the sign."""
        return self._binary("ashr", other)

    def shift_in_zeros(self, other: Value | float) -> Value:
        """Shift right, filling with zeros."""
        return self._binary("lshr", other)

    # Comparisons with a NaN are false, as in IEEE 754; `differs` is the one that is true.

    def __lt__(self, other: Value | float) -> Value:
        return self._compare("olt", "slt", other)

    def __le__(self, other: Value | float) -> Value:
        return self._compare("ole", "sle", other)

    def __gt__(self, other: Value | float) -> Value:
        return self._compare("ogt", "sgt", other)

    def __ge__(self, other: Value | float) -> Value:
        return self._compare("oge", "sge", other)

    def equals(self, other: Value | float) -> Value:
        """Compare for equality (`==` compares the Python objects)."""
        return self._compare("oeq", "eq", other)

    def differs(self, other: Value | float) -> Value:
        """Compare for inequality; NaN differs from everything."""
        return self._compare("une", "ne", other)

    def is_null(self) -> Value:
        """Tell whether a pointer is null."""
        return self.f.emit(I1, f"icmp eq ptr {self.text}, null")

    def is_nan(self) -> Value:
        """Tell where this is NaN."""
        return self._compare("uno", "ne", self)

    def as_type(self, type: Type) -> Value:
        """Return the same bits as another type of the same size."""
        return self.f.cast("bitcast", self, type)

    def bits(self) -> Value:
        """Return the bits of floats as integers."""
        return self.as_type(self.type.integer)

    def where(self, yes: Value, no: Value | float) -> Value:
        """Return `yes` in the lanes where this is true and `no` elsewhere."""
        no = yes.like(no)
        text = f"select {self.type.name} {self.text}, {yes.type.name} {yes.text}, "
        return self.f.emit(yes.type, f"{text}{no.type.name} {no.text}")

    def to(self, type: Type) -> Value:
        """Convert numbers as NumPy's `astype` does, bools being 0 and 1; lanes stay."""
        type = self.type.of(type.element)
        if type is self.type or type.name == self.type.name:
            return self
        source_float, target_float = self.type.is_float, type.is_float
        if type.scalar == "i1":
            return self.differs(0)
        if source_float and target_float:
            return self.f.cast("fpext" if type.size > self.type.size else "fptrunc", self, type)
        if target_float:
            return self.f.cast("uitofp" if self.type.scalar == "i1" else "sitofp", self, type)
        if source_float:
            return self.f.cast("fptosi", self, type)
        if self.type.scalar == "i1":
            return self.f.cast("zext", self, type)
        return self.f.cast("sext" if type.size > self.type.size else "trunc", self, type)


class Variable:
    """A place for a value that changes in a loop. LLVM makes a register of it."""

    def __init__(self, f: Function, value: Value) -> None:
        self._f = f
        self._type = value.type
        self._place = f.local(value.type)
        self.value = value

    @property
    def value(self) -> Value:
        """What it holds at this point of the function."""
        return self._f.load(self._type, self._place)

    @value.setter
    def value(self, value: Value) -> None:
        self._f.store(value, self._place)


class Function:
    """A function whose instructions are being written, in the order in which they run."""

    def __init__(
        self,
        module: Module,
        name: str,
        result: Type,
        arguments: Sequence[Type],
        inlined: bool,
        internal: bool,
    ) -> None:
        self.module = module
        self.name = name
        self.result = result
        self.arguments = [Value(self, t, f"%a{i}") for i, t in enumerate(arguments)]
        self.inlined = inlined
        self.internal = internal or inlined
        self._locals: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self._block = "entry"

    def __str__(self) -> str:
        arguments = ", ".join(f"{a.type.name} {a.text}" for a in self.arguments)
        linkage = "internal " if self.internal else ""
        inlined = "alwaysinline " if self.inlined else ""
        head = f"define {linkage}{self.result.name} @{self.name}({arguments}) {inlined}"
        body = "\n".join(["entry:", *self._locals, *self._lines])
        return f"{head}{self.module.attributes} {{\n{body}\n}}"

    # Instructions.

    def emit(self, type: Type, text: str) -> Value:
        """Write an instruction and return its result."""
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {text}")
        return Value(self, type, name)

    def constant(self, type: Type, number: float) -> Value:
        """Return a constant, the same in all lanes."""
        return Value(self, type, _literal(type, number))

    def cast(self, name: str, value: Value, type: Type) -> Value:
        """Write one of LLVM's conversions."""
        return self.emit(type, f"{name} {value.type.name} {value.text} to {type.name}")

    def call(self, result: Type, name: str, *arguments: Value) -> Value:
        """Call a function of this module, or one of LLVM's own (`llvm.*`)."""
        if name.startswith("llvm."):
            self.module.declare(result, name, [a.type for a in arguments])
        return self._call(result, f"@{name}", arguments)

    def call_address(self, result: Type, address: Value, *arguments: Value) -> Value:
        """Call the function at an address, under the platform's C convention."""
        return self._call(result, address.text, arguments)

    def _call(self, result: Type, callee: str, arguments: Sequence[Value]) -> Value:
        listed = ", ".join(f"{a.type.name} {a.text}" for a in arguments)
        text = f"call {result.name} {callee}({listed})"
        if result is VOID:
            self._lines.append(f"  {text}")
            return Value(self, VOID, "")
        return self.emit(result, text)

    def intrinsic(self, name: str, *arguments: Value) -> Value:
        """Call `llvm.name` overloaded on the type of its arguments, which it returns."""
        type = arguments[0].type
        return self.call(type, f"llvm.{name}.{type.mangled}", *arguments)

    def muladd(self, a: Value, b: Value | float, c: Value | float) -> Value:
        """Return a * b + c, rounded once where the machine can and twice elsewhere."""
        return self.intrinsic("fmuladd", a, a.like(b), a.like(c))

    # Memory. An index counts elements of the type that is loaded or stored (of one lane of it).

    def at(self, type: Type, pointer: Value, index: Value | float) -> Value:
        """Return the address of element `index` of an array of `type` (of its lanes' type)."""
        index = index if isinstance(index, Value) else self.constant(I64, index)
        scalar = type.element.name
        text = f"getelementptr {scalar}, ptr {pointer.text}, {index.type.name} {index.text}"
        return self.emit(PTR if not index.type.lanes else vector(PTR, index.type.lanes), text)

    def load(self, type: Type, pointer: Value, index: Value | float | None = None) -> Value:
        """Load a number or a whole vector, as aligned as its elements."""
        place = pointer if index is None else self.at(type, pointer, index)
        return self.emit(type, f"load {type.name}, ptr {place.text}, align {type.size}")

    def load_fixed(self, type: Type, pointer: Value, index: int) -> Value:
        """Load what nothing writes to while the function runs, so that loops need it only once."""
        place = self.at(type, pointer, index)
        text = f"load {type.name}, ptr {place.text}, align {type.size}, !invariant.load !0"
        return self.emit(type, text)

    def store(self, value: Value, pointer: Value, index: Value | float | None = None) -> None:
        """Store a number or a whole vector, as aligned as its elements."""
        place = pointer if index is None else self.at(value.type, pointer, index)
        text = f"store {value.type.name} {value.text}, ptr {place.text}, align {value.type.size}"
        self._lines.append(f"  {text}")

    def load_masked(self, type: Type, pointer: Value, mask: Value) -> Value:
        """Load the lanes where `mask` is true; the others are zero, and their memory untouched."""
        name = f"llvm.masked.load.{type.mangled}.p0"
        align, zero = self.constant(I32, type.size), self.constant(type, 0)
        return self.call(type, name, pointer, align, mask, zero)

    def store_masked(self, value: Value, pointer: Value, mask: Value) -> None:
        """Store the lanes where `mask` is true."""
        name = f"llvm.masked.store.{value.type.mangled}.p0"
        self.call(VOID, name, value, pointer, self.constant(I32, value.type.size), mask)

    def gather(self, type: Type, pointers: Value, mask: Value) -> Value:
        """Load each lane from an address of its own, where `mask` is true; else zero."""
        name = f"llvm.masked.gather.{type.mangled}.v{type.lanes}p0"
        align, zero = self.constant(I32, type.size), self.constant(type, 0)
        return self.call(type, name, pointers, align, mask, zero)

    def scatter(self, value: Value, pointers: Value, mask: Value) -> None:
        """Store each lane to an address of its own, where `mask` is true."""
        name = f"llvm.masked.scatter.{value.type.mangled}.v{value.type.lanes}p0"
        self.call(VOID, name, value, pointers, self.constant(I32, value.type.size), mask)

    # Memory that several threads use: 64-bit numbers.

    def load_shared(self, pointer: Value, index: int) -> Value:
        """Load a number others may write, and see all they wrote before it."""
        place = self.at(I64, pointer, index)
        return self.emit(I64, f"load atomic i64, ptr {place.text} acquire, align 8")

    def store_shared(self, value: Value, pointer: Value, index: int) -> None:
        """Store a number others may read; who sees it sees all that was written before."""
        place = self.at(I64, pointer, index)
        self._lines.append(f"  store atomic i64 {value.text}, ptr {place.text} release, align 8")

    def add_shared(self, number: int, pointer: Value, index: int) -> None:
        """Add to a number others may read and add to."""
        place = self.at(I64, pointer, index)
        self.emit(I64, f"atomicrmw add ptr {place.text}, i64 {number} acq_rel, align 8")

    def exchange(self, old: Value, new: Value, pointer: Value, index: int) -> Value:
        """Replace `old` by `new`; tell whether `old` was still there."""
        place = self.at(I64, pointer, index)
        text = f"cmpxchg ptr {place.text}, i64 {old.text}, i64 {new.text} acq_rel acquire, align 8"
        self._count += 1
        pair = f"%v{self._count}"
        self._lines.append(f"  {pair} = {text}")
        return self.emit(I1, f"extractvalue {{ i64, i1 }} {pair}, 1")

    def address_of(self, name: str) -> Value:
        """Return where a function of this module begins."""
        return Value(self, PTR, f"@{name}")

    def local(self, type: Type, count: int = 1) -> Value:
        """Reserve memory for `count` values on the stack, for the whole call."""
        place = Value(self, PTR, f"%local{len(self._locals)}")
        amount = f", i64 {count}" if count > 1 else ""
        self._locals.append(f"  {place.text} = alloca {type.name}{amount}")
        return place

    def variable(self, value: Value) -> Variable:
        """Return a place for a value that changes, holding `value`."""
        return Variable(self, value)

    # Lanes.

    def splat(self, value: Value, lanes: int) -> Value:
        """Return `value` in all lanes."""
        type = vector(value.type, lanes)
        one = self.emit(
            type, f"insertelement {type.name} poison, {value.type.name} {value.text}, i64 0"
        )
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.emit(type, f"shufflevector {type.name} {one.text}, {type.name} poison, {zeros}")

    def lane(self, value: Value, index: int) -> Value:
        """Return one lane."""
        return self.emit(
            value.type.element, f"extractelement {value.type.name} {value.text}, i64 {index}"
        )

    def lane_numbers(self, lanes: int) -> Value:
        """Return the vector 0, 1, 2, ..."""
        numbers = ", ".join(f"i64 {i}" for i in range(lanes))
        return Value(self, vector(I64, lanes), f"<{numbers}>")

    def first_lanes(self, count: Value, lanes: int) -> Value:
        """Return a mask that is true in the first `count` lanes (all, if there are fewer)."""
        return self.lane_numbers(lanes) < self.splat(count, lanes)

    def folded(self, value: Value, combine: Any) -> Value:
        """Combine all lanes into one number, halves at a time: `combine(a, b)`."""
        while value.type.lanes > 1:
            half = value.type.lanes // 2
            low, high = (self._part(value, start, half) for start in (0, half))
            value = combine(low, high)
        return self.lane(value, 0)

    def _part(self, value: Value, start: int, lanes: int) -> Value:
        numbers = ", ".join(f"i32 {start + i}" for i in range(lanes))
        name = value.type.name
        text = f"shufflevector {name} {value.text}, {name} poison, <{lanes} x i32> <{numbers}>"
        return self.emit(vector(value.type.element, lanes), text)

    # Control flow.

    def _label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def _start(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label

    @contextmanager
    def range(
        self,
        stop: Value,
        start: Value | float = 0,
        step: Value | int = 1,
        going: Callable[[], Value] | None = None,
    ) -> Iterator[Value]:
        """Run the block for i = start, start + step, ... while i < stop (and what `going` writes
        is true, which is looked at before each round)."""
        start, step = stop.like(start), stop.like(step)
        before, head, body, after = self._block, *(self._label() for _ in range(3))
        self._lines.append(f"  br label %{head}")
        self._start(head)
        phi_at = len(self._lines)
        i = self.emit(stop.type, "")  # written when the last block of the body is known
        more = i < stop
        self._lines.append(f"  br i1 {more.text}, label %{body}, label %{after}")
        self._start(body)
        if going is not None:
            self.stop_unless(going(), after)
        yield i
        following = self.emit(i.type, f"add nsw {i.type.name} {i.text}, {step.text}")
        self._lines.append(f"  br label %{head}")
        self._lines[phi_at] = (
            f"  {i.text} = phi {i.type.name} [ {start.text}, %{before} ], "
            f"[ {following.text}, %{self._block} ]"
        )
        self._start(after)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Run the block if `condition` is true."""
        body, after = self._label(), self._label()
        self._lines.append(f"  br i1 {condition.text}, label %{body}, label %{after}")
        self._start(body)
        yield
        self._lines.append(f"  br label %{after}")
        self._start(after)

    @contextmanager
    def unless(self, condition: Value) -> Iterator[None]:
        """Run the block if `condition` is false."""
        with self.when(~condition):
            yield

    def stop_unless(self, condition: Value, after: str) -> None:
        """Go to the label `after` if `condition` is false."""
        on = self._label()
        self._lines.append(f"  br i1 {condition.text}, label %{on}, label %{after}")
        self._start(on)

    @contextmanager
    def forever(self) -> Iterator[str]:
        """Run the block again and again; give the label to which `stop_unless` leaves it."""
        body, after = self._label(), self._label()
        self._lines.append(f"  br label %{body}")
        self._start(body)
        yield after
        self._lines.append(f"  br label %{body}")
        self._start(after)

    def leave(self, value: Value | None = None) -> None:
        """Return from the function, as the last thing in a `when`."""
        self.give(value)
        self.unreached()

    def unreached(self) -> None:
        """Begin a part that is never reached, behind the end of a function."""
        self._start(self._label())

    def give(self, value: Value | None = None) -> None:
        """Return from the function."""
        self._lines.append(
            "  ret void" if value is None else f"  ret {value.type.name} {value.text}"
        )


class Module:
    """Functions that are compiled together."""

    def __init__(self, attributes: str = "nounwind") -> None:
        self.attributes = attributes
        self._functions: dict[str, Function] = {}
        self._declared: dict[str, str] = {}

    def function(
        self,
        name: str,
        result: Type,
        arguments: Sequence[Type],
        inlined: bool = False,
        internal: bool = False,
    ) -> Function:
        """Begin a function; one that is `internal`, or `inlined` wherever it is called, is seen in
        here only."""
        f = Function(self, name, result, arguments, inlined, internal)
        self._functions[name] = f
        return f

    def has(self, name: str) -> bool:
        """Tell whether there is a function of this name."""
        return name in self._functions

    @property
    def exported(self) -> list[str]:
        """The names of the functions that are seen from outside."""
        return [name for name, f in self._functions.items() if not f.internal]

    def declare(self, result: Type, name: str, arguments: Sequence[Type]) -> None:
        """Declare a function of LLVM's own."""
        if name not in self._declared:
            listed = ", ".join(t.name for t in arguments)
            self._declared[name] = f"declare {result.name} @{name}({listed})"

    def finished(self) -> str:
        """Return the text, and forget the functions: they and their values refer to each other."""
        text = str(self)
        for f in self._functions.values():
            f.arguments = []
        self._functions = {}
        return text

    def __str__(self) -> str:
        functions = (str(f) for f in self._functions.values())
        return "\n".join([*self._declared.values(), *functions, "!0 = !{}", ""])
