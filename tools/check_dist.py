"""Build wheel and sdist, look into both, install each in an environment of its own, and run it there.

python tools/check_dist.py [--python python3.13] [--keep DIR] [--install wheel]
python tools/check_dist.py --first "torch==2.13.0"    what is installed before the package, such as PyTorch for CPUs
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST_SDIST = 2_000_000
TESTED = ["tests/base", "tests/docs", "tests/task/test_edit.py", "tests/test_architecture.py"]
NEEDED = ["tests/conftest.py", "docs/methods.md", "benchmarks/README.md", "constraints.txt", "LICENSE"]


def build(folder: Path) -> tuple[Path, Path]:
    """Build both into `folder` and return wheel and sdist."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def check_contents(wheel: Path, sdist: Path) -> None:
    """Check that the sdist is small and has what its tests need, and that the wheel has the package alone."""
    size = sdist.stat().st_size
    if size > LARGEST_SDIST:
        sys.exit(f"the sdist has {size} bytes, more than {LARGEST_SDIST}")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = [name for name in NEEDED if name not in names]
    if missing:
        sys.exit(f"the sdist lacks {', '.join(missing)}")
    with zipfile.ZipFile(wheel) as archive:
        foreign = {name.split("/")[0] for name in archive.namelist()} - {"expunge"}
        data = [name for name in archive.namelist() if name.endswith((".j2", ".json", "py.typed", ".pyi"))]
    if len(foreign) != 1 or not data:
        sys.exit(f"the wheel holds {', '.join(sorted(foreign))}, and {len(data)} files of data")
    print(f"wheel {wheel.stat().st_size:,} bytes, sdist {size:,} bytes, {len(names)} files")


def try_out(archive: Path, place: Path, options: argparse.Namespace) -> None:
    """Install an archive without extras, run demo, run, report and export, and the sdist's tests."""
    started = time.perf_counter()
    subprocess.run([options.python, "-m", "venv", place], check=True)  # noqa: S603
    for wanted in (options.first.split(), [archive]):
        if wanted:
            subprocess.run([place / "bin" / "pip", "install", "--quiet", *wanted], check=True)  # noqa: S603
    seconds, size = (
        time.perf_counter() - started,
        sum(path.stat().st_size for path in place.rglob("*") if path.is_file()),
    )
    print(f"{archive.name} with {options.python}: installed in {seconds:.0f} s, {size / 1e9:.2f} GB")
    expunge = place / "bin" / "expunge"
    for words in COMMANDS:
        subprocess.run([expunge, *words.split()], check=True, cwd=place, stdout=subprocess.DEVNULL)  # noqa: S603
        print(f"  expunge {words.split()[0]}: right")
    if archive.name.endswith(".tar.gz"):
        run_its_tests(archive, place)


COMMANDS = (
    "demo --method l2ul --inputs digits",
    "run --model expunge.jobs.demo:DigitNet --weights digits/weights.safetensors --mean 0 --std 1 --method l2ul"
    " --data npz:digits/images.npz --forget-indices 3,17 --audit quick --out edited",
    "report edited --no-images",
    "export edited --format safetensors --format torch-export --allow-code",
)


def run_its_tests(sdist: Path, place: Path) -> None:
    """Run a part of the tests that the sdist holds, with pytest and the extras of the command line."""
    tools = [f"{sdist}[requests,serve,tune,bench]", "pytest", "hypothesis", "jsonschema"]
    subprocess.run([place / "bin" / "pip", "install", "--quiet", *tools], check=True)  # noqa: S603
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "sdist", filter="data")
    root = next((place / "sdist").iterdir())
    subprocess.run([place / "bin" / "python", "-m", "pytest", "-q", *TESTED], check=True, cwd=root)  # noqa: S603


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install for")
    parser.add_argument("--first", default="", metavar="WORDS", help="what pip is to install before, such as a torch")
    parser.add_argument("--keep", type=Path, help="leave wheel and sdist there")
    parser.add_argument("--install", choices=("both", "wheel", "sdist", "none"), default="both", help="what to try out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary) / "dist"
        archives = build(folder)
        check_contents(*archives)
        for name, archive in zip(("wheel", "sdist"), archives, strict=True):
            if options.install in ("both", name):
                try_out(archive, Path(temporary) / name, options)


if __name__ == "__main__":
    main()
