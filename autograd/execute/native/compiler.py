"""From LLVM's text form to a function one can call, through llvmlite and the cache on disk.

llvmlite is imported when the first function is compiled (extra `native`). Why not Numba, which is
built on it: it infers types that a graph already knows (0.3 s for the forward of an RNN of 16
units, 0.15 s here), its `np.tanh` calls the C library for each number (at least 8 ns, where vectors
take 0.4 ns; Intel's SVML is not in the wheels of PyPI), and a process that finds its code on disk
still imports Numba (0.12 s, llvmlite 0.02 s).
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Iterable
from functools import cache, wraps
from itertools import count
from threading import RLock
from typing import Any, ParamSpec, TypeVar

from autograd.execute.native.cache import Cache
from autograd.execute.native.ir import Module

_RECIPE = "1"
"""Part of the key of all kept code: raise it when what is done to a module changes."""

P = ParamSpec("P")
T = TypeVar("T")


class Machine:
    """The processor that code is made for. There is one: `machine()`."""

    def __init__(self) -> None:
        import llvmlite
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        self.binding = binding
        self.triple = binding.get_process_triple()
        self.cpu = binding.get_host_cpu_name()
        self.features = _usable(binding.get_host_cpu_features())
        llvm = ".".join(map(str, binding.llvm_version_info))
        self.key = "|".join(
            (_RECIPE, llvmlite.__version__, llvm, self.triple, self.cpu, self.features)
        )

    @property
    def vector_bytes(self) -> int:
        """The bytes of the widest vectors it computes with."""
        for feature, size in (("avx512f", 64), ("avx2", 32)):
            if f"+{feature}," in self.features + ",":
                return size
        return 16

    def target(self) -> Any:
        """Return a new llvmlite target machine; an engine takes it over."""
        target = self.binding.Target.from_triple(self.triple)
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc="pic", codemodel="small", jit=True
        )

    def module(self) -> Module:
        """Return an empty module whose functions may use this processor's widest vectors."""
        bits = 8 * self.vector_bytes
        return Module(f'nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}"')


def _usable(features: Any) -> str:
    """Return LLVM's list of features as one string: those the processor has."""
    return ",".join(f"+{name}" for name, present in sorted(features.items()) if present)


_MAKING = RLock()


def once(make: Callable[P, T]) -> Callable[P, T]:
    """Return `functools.cache` of a function that threads may ask first at the same time.

    It is then called once. `cache` would call it for each and keep one result, and machine code
    that the others hold would be freed while its addresses are in use.
    """
    kept = cache(make)

    @wraps(make)
    def known(*args: P.args, **kwargs: P.kwargs) -> T:
        with _MAKING:
            return kept(*args, **kwargs)  # type: ignore[arg-type]

    return known


@once
def machine() -> Machine:
    """Return this machine; the first call imports llvmlite (ImportError if it is not there)."""
    return Machine()


@once
def disk() -> Cache:
    """Return the cache on disk that this process uses."""
    return Cache()


@once
def _linker() -> Any:
    # JITLink puts a unit's code and constants side by side, as the small code model wants.
    return machine().binding.create_lljit_compiler(
        machine().target(), use_jit_link=True, suppress_errors=True
    )


_units = count()  # the linker wants a new name for each unit


@cache  # each is a type, and types are cycles
def _signature(python: bool, result: Any, arguments: tuple[Any, ...]) -> Any:
    return (ctypes.PYFUNCTYPE if python else ctypes.CFUNCTYPE)(result, *arguments)


class Compiled:
    """Machine code in memory, for as long as this object lives."""

    def __init__(self, code: bytes, names: Iterable[str], from_disk: bool) -> None:
        library = machine().binding.JITLibraryBuilder().add_object_img(code)
        for name in names:
            library.export_symbol(name)
        self._unit = library.link(_linker(), f"unit{next(_units)}")
        self.from_disk = from_disk

    def address(self, name: str) -> int:
        """Return where the function `name` begins."""
        return int(self._unit[name])

    def function(
        self, name: str, *arguments: Any, result: Any = None, python: bool = False
    ) -> Callable[..., Any]:
        """Return the function `name`, given the ctypes of its arguments.

        Calls release the GIL; if it calls `python` itself, that is left to it.
        """
        call: Any = _signature(python, result, arguments)(self.address(name))
        call.owner = self  # the code lives as long as the function
        return call  # type: ignore[no-any-return]


def compiled(module: Module, kept: Cache | None = None) -> Compiled:
    """Return the machine code of a module, from disk (`kept`, or `disk()`) if it is there.

    The module is used up.
    """
    kept = kept or disk()
    names = module.exported
    text = module.finished()
    key = hashlib.sha256(f"{machine().key}\n{text}".encode()).hexdigest()
    code = kept.read(key)
    if code is not None:
        return Compiled(code, names, from_disk=True)
    code = machine_code(text)
    kept.write(key, code)
    return Compiled(code, names, from_disk=False)


def machine_code(text: str) -> bytes:
    """Compile LLVM's text form to an object file for this machine."""
    target, module = _optimised(text)
    code: bytes = target.emit_object(module)
    return code


def assembly(text: str) -> str:
    """Return what LLVM's text form becomes, to read."""
    target, module = _optimised(text)
    listing: str = target.emit_assembly(module)
    return listing


def _optimised(text: str) -> tuple[Any, Any]:
    binding = machine().binding
    target = machine().target()
    module = binding.parse_assembly(text)
    module.triple = machine().triple
    module.data_layout = str(target.target_data)
    options = binding.create_pipeline_tuning_options(speed_level=3)
    # Kernels are written on vectors. What is left for LLVM to find is little, and takes it long.
    options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = False
    options.loop_unrolling = False
    builder = binding.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return target, module
