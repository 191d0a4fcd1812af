"""Passes: functions graph -> graph that change speed or memory and never what a graph means."""

from autograd.rewrite import algebra, chain, cse, fold, fuse, parts, powers, uniform, views

__all__ = ["algebra", "chain", "cse", "fold", "fuse", "parts", "powers", "uniform", "views"]
