"""The packages under test are ours, and a mixed installation is refused and diagnosed."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import pytest

from autograd import doctor

PACKAGES = ("autograd", "loops", "nn")
REMEDY = "pip uninstall -y autograd loopgrad"

# What is foreign in these tests stands for HIPS Autograd: these names are in all its releases from
# 1.5 to 1.9.1, and its `__init__` comes to import `wrap_util` before it has finished.
FOREIGN_FILES = {
    "numpy/__init__.py": "",
    "differential_operators.py": "from .wrap_util import unary_to_nary\n",
    "wrap_util.py": "def unary_to_nary(): ...\n",
}
FOREIGN_INIT = "from .differential_operators import unary_to_nary\n"


def copy_packages(root: Path, target: Path) -> Path:
    for name in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, target / name, ignore=ignore)
    return target


def add_foreign_files(target: Path) -> Path:
    for name, text in FOREIGN_FILES.items():
        (target / "autograd" / name).parent.mkdir(parents=True, exist_ok=True)
        (target / "autograd" / name).write_text(text)
    return target


def add_foreign_metadata(target: Path) -> Path:
    """The record that pip keeps of the other distribution, which the doctor reads."""
    folder = target / "autograd-1.9.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: autograd\nVersion: 1.9.0\n")
    (folder / "RECORD").write_text("".join(f"autograd/{name},,\n" for name in FOREIGN_FILES))
    return target


@pytest.fixture
def ours(root, tmp_path):
    """A folder with a copy of our three packages, as after an installation."""
    return copy_packages(root, tmp_path / "site")


@pytest.fixture
def ours_last(ours):
    """Ours was installed over the other's: our `__init__`, and their other files."""
    return add_foreign_files(ours)


@pytest.fixture
def ours_first(ours_last):
    """The other's was installed over ours: their `__init__`, and our other files."""
    (ours_last / "autograd" / "__init__.py").write_text(FOREIGN_INIT)
    return ours_last


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_under_test_are_those_of_this_checkout(name, root):
    package = importlib.import_module(name)
    assert Path(package.__file__).resolve() == root / name / "__init__.py"


def test_every_folder_of_modules_is_a_package_so_that_a_wheel_has_it(root):
    folders = {file.parent for name in PACKAGES for file in (root / name).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_are_marked_as_typed(name, root):
    assert (root / name / "py.typed").exists()


def test_plain_copy_is_accepted(ours, run_python):
    answer = run_python("-c", "import nn, loops, autograd; print(autograd.__file__)", path=ours)
    assert answer.returncode == 0, answer.stderr
    assert Path(answer.stdout.strip()) == ours / "autograd" / "__init__.py"


@pytest.mark.parametrize("order", ["ours_last", "ours_first"])
@pytest.mark.parametrize("name", PACKAGES)
def test_mixed_installation_is_refused(order, name, request, run_python):
    mixed = request.getfixturevalue(order)
    answer = run_python("-c", f"import {name}", path=mixed)
    assert answer.returncode == 1
    last_error = answer.stderr[answer.stderr.rindex("ImportError") :]
    assert "HIPS Autograd's ('autograd' on PyPI)" in last_error
    assert str(mixed / "autograd") in last_error
    assert REMEDY in last_error


@pytest.mark.parametrize("name", ["loops", "nn"])
def test_foreign_autograd_before_ours_is_refused(name, root, tmp_path, run_python):
    foreign = tmp_path / "foreign"
    (foreign / "autograd").mkdir(parents=True)
    add_foreign_files(foreign)
    (foreign / "autograd" / "__init__.py").write_text(FOREIGN_INIT)
    code = f"import sys; sys.path.insert(0, {str(foreign)!r}); import {name}"
    answer = run_python("-c", code, path=root)
    assert answer.returncode == 1
    last_error = answer.stderr[answer.stderr.rindex("ImportError") :]
    assert "need LoopGrad's autograd" in last_error
    assert str(foreign / "autograd") in last_error
    assert "pip uninstall -y autograd" in last_error


def test_one_stat_call_decides(monkeypatch):
    from autograd import _installation

    asked = []
    monkeypatch.setattr(_installation.os.path, "exists", lambda path: bool(asked.append(path)))
    _installation.refuse_mixed_installation()
    assert len(asked) == 1


def test_refusal_in_process(monkeypatch):
    from autograd import _installation

    monkeypatch.setattr(_installation.os.path, "exists", lambda path: True)
    with pytest.raises(ImportError, match=f"files of two distributions.*\n.*{REMEDY}"):
        _installation.refuse_mixed_installation()


def test_tripwire_is_only_for_mixed_installations():
    sys.modules.pop("autograd.wrap_util", None)
    with pytest.raises(ImportError, match="files of two distributions"):
        importlib.import_module("autograd.wrap_util")


def test_loops_refuses_in_process(monkeypatch):
    import autograd
    from loops._installation import refuse_foreign_autograd

    refuse_foreign_autograd()
    monkeypatch.delattr(autograd, "_installation")
    with pytest.raises(ImportError, match="loops and nn need LoopGrad's autograd"):
        refuse_foreign_autograd()


def test_doctor_finds_nothing_wrong_with_a_plain_copy(ours, run_python):
    answer = run_python("-m", "autograd.doctor", path=ours)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.endswith("Problems\n  none\n")
    assert str(ours / "autograd") in answer.stdout


def test_doctor_reports_every_section(monkeypatch):
    monkeypatch.setattr(doctor, "core_type_rates", dict)
    titles = [title for title, _ in doctor.report()]
    assert titles[:4] == ["Versions", "Packages", "Optional parts", "Threads"]
    assert titles[4:] == ["Matrix products", "Problems"]


def planted_rates(monkeypatch, rates: dict[str, float], flags: str = "avx2 fma") -> list[str]:
    """Let the doctor measure these rates; return the list of what it will have measured."""
    asked: list[str] = []

    def rate(core_type: str) -> float | None:
        asked.append(core_type)
        return rates.get(core_type)

    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(doctor, "_blas_name", lambda: "scipy-openblas")
    monkeypatch.setattr(doctor, "_processor_flags", lambda: set(flags.split()))
    monkeypatch.setattr(doctor, "_product_rate", rate)
    return asked


AVX512 = "avx2 fma avx512f avx512bw avx512dq avx512vl"


def test_doctor_tells_of_faster_kernels(monkeypatch):
    rates = {"": 125e9, "Haswell": 124e9, "Zen": 125e9, "SkylakeX": 231e9}
    asked = planted_rates(monkeypatch, rates, AVX512)
    lines = dict(doctor.report())["Matrix products"]
    assert "125 GF/s" in lines[0]
    assert "SkylakeX kernels are 1.85 times as fast" in lines[1]
    assert lines[1].endswith("export OPENBLAS_CORETYPE=SkylakeX")
    assert asked == ["", "Haswell", "Zen", "SkylakeX"]
    assert doctor.fastest_core_type() == "SkylakeX"
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    assert len(dict(doctor.report())["Matrix products"]) == 1
    assert doctor.problems() == []


def test_doctor_does_not_call_noise_faster(monkeypatch):
    planted_rates(monkeypatch, {"": 100e9, "Haswell": 110e9, "Zen": 90e9})
    assert doctor.fastest_core_type() is None
    assert len(dict(doctor.report())["Matrix products"]) == 1


def test_doctor_measures_a_winner_twice(monkeypatch):
    planted_rates(monkeypatch, {"": 100e9, "Haswell": 200e9})
    first, later = doctor.core_type_rates(), {"": 100e9, "Haswell": 100e9}
    monkeypatch.setattr(doctor, "core_type_rates", lambda: first)
    monkeypatch.setattr(doctor, "_product_rate", later.get)
    assert doctor.fastest_core_type() is None


@pytest.mark.parametrize("fault", ["another BLAS", "no flags", "nothing runs"])
def test_doctor_says_nothing_of_kernels_it_cannot_measure(fault, monkeypatch):
    planted_rates(monkeypatch, {} if fault == "nothing runs" else {"": 1e9, "Haswell": 3e9})
    if fault == "another BLAS":
        monkeypatch.setattr(doctor, "_blas_name", lambda: "accelerate")
    if fault == "no flags":
        monkeypatch.setattr(doctor, "_processor_flags", set)
    assert doctor.core_type_rates() == {}
    assert doctor.fastest_core_type() is None
    assert dict(doctor.report())["Matrix products"] == []


def test_doctor_measures_a_product(monkeypatch):
    monkeypatch.setattr(doctor, "PRODUCT", "print(2.5e9)")
    assert doctor._product_rate("Haswell") == 2.5e9
    monkeypatch.setattr(doctor, "PRODUCT", "import os; print(os.environ['OPENBLAS_CORETYPE'])")
    assert doctor._product_rate("Haswell") is None  # no number
    monkeypatch.setattr(doctor, "PRODUCT", "raise SystemExit(3)")
    assert doctor._product_rate("") is None


def test_doctor_reports_versions_and_optional_parts(monkeypatch):
    import numpy

    monkeypatch.setattr(doctor, "core_type_rates", dict)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    text = "\n".join(line for _, lines in doctor.report() for line in lines)
    assert f"NumPy {numpy.__version__}" in text
    assert "BLAS " in text
    assert "pygraphviz: " in text
    assert "OPENBLAS_NUM_THREADS=3" in text


@pytest.mark.parametrize("order", ["ours_last", "ours_first"])
def test_doctor_run_as_a_file_diagnoses_a_mixed_installation(order, request, run_python):
    mixed = add_foreign_metadata(request.getfixturevalue(order))
    answer = run_python(str(mixed / "autograd" / "doctor.py"), path=mixed)
    assert answer.returncode == 1, answer.stderr
    assert "distribution 'autograd 1.9.0' has 3 files" in answer.stdout
    assert f"{mixed / 'autograd'}, mixed into LoopGrad's" in answer.stdout


def test_doctor_as_a_module_names_the_remedy_in_a_mixed_installation(ours_last, run_python):
    answer = run_python("-m", "autograd.doctor", path=ours_last)
    assert answer.returncode == 1
    assert REMEDY in answer.stderr


def test_doctor_sees_foreign_files_without_metadata(ours_last, run_python):
    answer = run_python(str(ours_last / "autograd" / "doctor.py"), path=ours_last)
    assert answer.returncode == 1, answer.stderr
    assert "holds files of HIPS Autograd" in answer.stdout


def test_doctor_sees_a_distribution_that_can_hide_ours(ours, tmp_path, run_python):
    foreign = tmp_path / "foreign"
    (foreign / "autograd").mkdir(parents=True)
    add_foreign_metadata(add_foreign_files(foreign))
    answer = run_python(str(ours / "autograd" / "doctor.py"), path=foreign)
    assert answer.returncode == 1, answer.stderr
    assert f"{foreign / 'autograd'}, that can hide LoopGrad's" in answer.stdout


def test_doctor_sees_a_missing_package(ours, run_python):
    shutil.rmtree(ours / "nn")
    answer = run_python("-m", "autograd.doctor", path=ours)
    assert answer.returncode == 1
    # With LoopGrad also installed, Python finds that one's nn: a package of another installation.
    assert re.search(r"Python (does not find|finds) 'nn'", answer.stdout)
    assert str(ours / "nn") in answer.stdout


def test_doctor_survives_what_an_interrupted_installation_left(ours, run_python):
    (ours / "half_gone-1.0.dist-info").mkdir()
    answer = run_python("-m", "autograd.doctor", path=ours)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_doctor_sees_an_old_numpy(monkeypatch):
    monkeypatch.setattr(doctor, "_version_of", lambda name: "1.26.4")
    assert "NumPy 1.26.4 is too old" in doctor.problems()[0]
    monkeypatch.setattr(doctor, "_version_of", lambda name: None)
    assert "NumPy is not installed" in doctor.problems()[0]
