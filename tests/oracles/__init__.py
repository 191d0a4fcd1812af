"""Second, independent implementations in plain NumPy: what the engine's results are held against.

Gradients in here are derived by hand on purpose, and nothing in here imports `autograd`, `loops`
or `nn`: an oracle that shared code with what it judges would share its mistakes.
All published and reference numbers live as data in `published_numbers`.
"""
