"""Run the tests whose outcome comes out of a trajectory as other processors would compute them.

`make check-processors` calls it. Each line is one setting: the instructions that torch's own kernels may use
(ATEN_CPU_CAPABILITY), those that oneDNN's convolutions may use (ONEDNN_MAX_CPU_ISA), and the number of threads. What
the processor lacks falls back to what it has, so the lines that differ are those that it can tell apart.
"""

import os
import subprocess
import sys
import time

ATEN = ("default", "avx2")
ONEDNN = ("AVX2", "AVX512_CORE", "AVX512_CORE_BF16", "AVX512_CORE_AMX")
THREADS = ("1", "2")


def settings():
    """Return the environment of each run."""
    kinds = [{"ATEN_CPU_CAPABILITY": each} for each in ATEN] + [{"ONEDNN_MAX_CPU_ISA": each} for each in ONEDNN]
    return [kind | {"OMP_NUM_THREADS": count} for kind in kinds for count in THREADS]


def main(arguments):
    """Run each setting, print a line for it, and return 1 if any failed."""
    failed = False
    for environment in settings():
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "processor", "-p", "no:cacheprovider", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        failed = failed or done.returncode != 0
        last = (done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]])[-1]
        named = " ".join(f"{name}={value}" for name, value in environment.items())
        print(f"{named:60s} {time.perf_counter() - started:5.0f} s  {last}", flush=True)
        if done.returncode:
            print(done.stdout)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
