"""Benchmarks against other libraries; `README.md` here says how to run them."""
