"""Refuse to run from a folder that another distribution's files are mixed into.

The import name ``autograd`` is also that of another project: the distribution ``autograd`` on PyPI
(HIPS Autograd). When pip installs both into one environment, their files land in one folder, and
which ``autograd/__init__.py`` is there depends on which was installed last:

* LoopGrad last: our ``__init__`` runs, and `refuse_mixed_installation` sees a file of theirs;
* the other last: their ``__init__`` runs, and meets our package ``autograd.wrap_util``, which
  Python prefers to their module of that name and which raises the same error.
"""

import os

# In HIPS Autograd since its first release, and never in ours.
FOREIGN_FILE = os.path.join("numpy", "__init__.py")


def mixed_installation_message() -> str:
    """Say whose files are mixed into which folder, and how to get out."""
    folder = os.path.dirname(os.path.abspath(__file__))
    return (
        f"the folder {folder} holds the files of two distributions: LoopGrad's ('loopgrad' on "
        "PyPI) and HIPS Autograd's ('autograd' on PyPI). Both use the import name 'autograd', so "
        "they cannot share an environment. To get out, remove both and install one again:\n"
        "    python -m pip uninstall -y autograd loopgrad\n"
        "    python -m pip install loopgrad  (in a clone of it: python -m pip install -e .)\n"
        "and give the other an environment of its own (python -m venv). "
        f"'python {os.path.join(folder, 'doctor.py')}' lists what is mixed."
    )


def refuse_mixed_installation() -> None:
    """Raise ImportError if HIPS Autograd's files lie in this package's folder.

    One ``stat`` call, because every import of the package pays for it.
    """
    if os.path.exists(os.path.join(os.path.dirname(__file__), FOREIGN_FILE)):
        raise ImportError(mixed_installation_message())
