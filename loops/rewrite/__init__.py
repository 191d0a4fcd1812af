"""Passes over loops, one a file. What runs when is said in `autograd/rewrite/pipeline.py`."""
