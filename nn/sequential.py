"""Sequential: each layer is given what the one before passes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, overload

from autograd.errors import LoopGradError
from nn.module import Module

Layer = Callable[..., Any]


class Sequential(Module):
    """Modules and functions, called one after the other; torch's `nn.Sequential`.

        model = nn.Sequential(nn.Linear(2, 16), ag.tanh, nn.Linear(16, 1))
        model = nn.Sequential({"rnn": nn.RNN(2, 16), "out": nn.Linear(16, 1)})

    Layers are numbered from 0, or called by the names of a dict; parameters are `0.weight`,
    `out.bias`. A layer that returns a tuple, as recurrent layers return (outputs, state) and
    attention (outputs, weights), passes on the first item, also at the end. One that has an
    attribute `passes_on` passes on the item of that number, or for None the whole tuple:
    `rnn.passes_on = 1` is for models that read the state.

    What a function reads is its own affair: parameters are found only in modules.
    """

    def __init__(self, *layers: Layer | Mapping[str, Layer]) -> None:
        self._names: list[str] = []
        named = layers[0] if len(layers) == 1 and isinstance(layers[0], Mapping) else None
        for layer in layers if named is None else ():
            self.append(layer)
        for name, layer in (named or {}).items():
            self.append(layer, name)

    def append(self, layer: Any, name: Any = None) -> Self:
        """Add a layer at the end, called `name` or by its number; return itself."""
        if name is None:
            number = len(self)
            while str(number) in self._names:
                number += 1
            name = str(number)
        if not callable(layer) or isinstance(layer, type):
            called = f"{layer.__name__}(...)" if isinstance(layer, type) else "a module or function"
            raise LoopGradError(
                f"layer '{name}' of a Sequential must be a module or a function, but is "
                f"{type(layer).__name__} {layer!r:.60}; give {called}"
            )
        if not isinstance(name, str) or not name or "." in name or hasattr(self, name):
            raise LoopGradError(
                f"a layer of a Sequential cannot be called {name!r}: names are texts without "
                "dots, none twice, and none of those that modules have themselves"
            )
        setattr(self, name, layer)
        self._names.append(name)
        return self

    def forward(self, x: Any) -> Any:
        """Return what the last layer passes on; of no layers, `x`."""
        for name, layer in self.items():
            try:
                x = _passed_on(layer, layer(x))
            except LoopGradError as error:
                error.add_note(f"in layer '{name}' of a Sequential: {_said(layer)}")
                raise
        return x

    def items(self) -> Iterator[tuple[str, Layer]]:
        """Yield (name, layer) in their order."""
        for name in self._names:
            yield name, vars(self)[name]

    def __iter__(self) -> Iterator[Layer]:
        return (layer for _, layer in self.items())

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int | str) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | str | slice) -> Any:
        """Return a layer by number or name, or a Sequential of the same layers and names."""
        if isinstance(index, slice):
            part = Sequential()
            for name in self._names[index]:
                # not by setattr: the layers, and the names of their parameters, stay those of self
                object.__setattr__(part, name, vars(self)[name])
                part._names.append(name)
            part.training = self.training
            return part
        if isinstance(index, str) and index in self._names:
            return vars(self)[index]
        if isinstance(index, int) and -len(self) <= index < len(self):
            return vars(self)[self._names[index]]
        error = IndexError if isinstance(index, int) else KeyError
        raise error(f"this Sequential has no layer {index!r}; it has {', '.join(self._names)}")


def _passed_on(layer: Layer, result: Any) -> Any:
    """Return what is passed on of the result of a layer."""
    which = getattr(layer, "passes_on", 0)
    if which is None or not isinstance(result, tuple):
        return result
    if not -len(result) <= which < len(result):
        raise LoopGradError(
            f"passes_on is {which}, but {len(result)} values were returned; it is the number of "
            "one of them, or None for all"
        )
    return result[which]


def _said(layer: Layer) -> str:
    name = getattr(layer, "__name__", type(layer).__name__)
    return name if isinstance(layer, Module) or "." not in name else type(layer).__name__
