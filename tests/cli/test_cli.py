import subprocess
import sys

from expunge import METHODS, __version__
from expunge.cli import COMMANDS


def test_help_lists_the_commands_and_imports_no_torch():
    script = (
        "import sys; sys.argv = ['expunge', '--help']\n"
        "from expunge.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stdout.splitlines()[-1] == "False"


def test_version_of_the_module(expunge):
    done = subprocess.run([sys.executable, "-m", "expunge", "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout


def test_unknown_command_is_exit_code_2(expunge):
    done = expunge("forget-everything")
    assert done.code == 2
    assert "No such command" in done.err


def test_methods_lists_every_method(expunge):
    done = expunge("methods")
    assert done.code == 0
    assert [line.split("\t")[0] for line in done.out.splitlines()] == ["method", *METHODS]


def test_methods_name_shows_settings_with_defaults(expunge):
    done = expunge("methods", "l2ul")
    assert done.code == 0
    assert "attack.radius" in done.out
    assert "L2 radius" in done.out


def test_methods_name_lists_the_words_that_a_setting_may_have(expunge):
    lines = [line.split("\t") for line in expunge("methods", "l2ul").out.splitlines()]
    allowed = {line[0]: line[2] for line in lines if len(line) > 2}
    words = {
        "descent.algorithm": "sgd, nesterov, adam",
        "descent.batchnorm": "frozen, batch",
        "attack.start": "uniform_in_ball, noise_projected",
        "attack.targets": "distinct, released",
        "attack.order": "ball_first, bounds_first",
        "attack.precision": "float32, bfloat16, auto",
        "attack.radius": "above 0",
    }
    assert {name: allowed[name] for name in words} == words


def test_methods_of_an_unknown_name(expunge):
    done = expunge("methods", "amnesia")
    assert done.code == 2
    assert "amnesia" in done.err


def test_every_command_has_help(expunge):
    for name in COMMANDS:
        done = expunge(name, "--help")
        assert done.code == 0
        assert "--help" in done.out
