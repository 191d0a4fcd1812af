"""What a native plan needs below the level of graphs: machine code for loops, through LLVM.

`ir` writes LLVM's text form, `functions` (exp, tanh, ...) and `rules` (one entry an op) build on
it, `elementwise`, `reductions` and `products` are the kernels, `compiler` makes them machine code,
and `cache` keeps that on disk. Only `compiler` imports llvmlite, when the first kernel is compiled.
"""
