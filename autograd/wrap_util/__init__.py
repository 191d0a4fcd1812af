"""A tripwire, not a part of LoopGrad: importing it raises ImportError.

HIPS Autograd imports its module ``autograd/wrap_util.py`` as soon as it is imported. If it was
installed over LoopGrad, its ``autograd/__init__.py`` has replaced ours, and no check in ours can
run; but Python prefers this package to their module. See `autograd._installation`.
"""

from autograd._installation import mixed_installation_message

raise ImportError(mixed_installation_message())
