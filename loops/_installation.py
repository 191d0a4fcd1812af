"""Refuse to build on an ``autograd`` that is not LoopGrad's."""

import autograd


def refuse_foreign_autograd() -> None:
    """Raise ImportError if Python found another distribution's ``autograd``.

    LoopGrad's own ``autograd`` raises by itself when its folder is mixed. What is left is another
    one, whole and in another folder, that comes first on ``sys.path``: it has no such check.
    """
    if not hasattr(autograd, "_installation"):
        raise ImportError(
            "loops and nn need LoopGrad's autograd, but Python found another distribution's in "
            f"{next(iter(autograd.__path__))}. HIPS Autograd ('autograd' on PyPI) has the same "
            "import name and comes first on sys.path. Remove it from this environment:\n"
            "    python -m pip uninstall -y autograd\n"
            "or give LoopGrad an environment of its own (python -m venv)."
        )
