"""Errors in the words of the command line: flags in place of fields, and the nearest name for a misspelt one."""

import click

from expunge.base.errors import ExpungeError, suggest

SETTINGS = ("settings.", "recipe.")
"""Tables of settings that --set fills."""


INNER = {
    "class_names": ("model.classes",),
    "y_new": ("forget.table", "forget"),
    "x": ("data.source", "data"),
}
"""What fields of classifiers and forget sets are called among the settings; the first that a command has counts."""
SIZES = ("--resize", "--crop")


def in_flags(error: ExpungeError, command: click.Command) -> ExpungeError:
    """Return `error` under the flag of `command` that sets the field it names, if there is one."""
    flags = (flag_of(command, name) for name in INNER.get(error.name, (error.name,)))
    flag = next((each for each in flags if each is not None), None)
    if flag is None:
        return error
    sized = error.name == "x" and all(flag_of(command, size[2:]) == size for size in SIZES)
    renamed = error.renamed(flag)
    return renamed.hinted(f"{' and '.join(SIZES)} say which size images are brought to") if sized else renamed


def flag_of(command: click.Command, name: str) -> str | None:
    """Return the flag of `command` that sets the field of that dotted name; None if there is none.

    >>> weights = click.Option(["--weights", "model__weights"])
    >>> command = click.Command("run", params=[weights, click.Option(["--set", "settings"])])
    >>> flag_of(command, "model.weights"), flag_of(command, "weights"), flag_of(command, "settings.rate")
    ('--weights', '--weights', '--set rate')
    """
    flags = {_dotted(option): option.opts[0] for option in command.params if isinstance(option, click.Option)}
    for prefix in SETTINGS:
        if name.startswith(prefix) and "settings" in flags:
            return f"--set {name.removeprefix(prefix)}"
    own = "--" + name.replace("_", "-")
    if name in flags or own in flags.values():
        return flags.get(name, own)
    last = [flag for dotted, flag in flags.items() if dotted.rpartition(".")[2] == name]
    return last[0] if len(last) == 1 else None


class NameChoice(click.Choice[str]):
    """A choice that suggests the nearest of its names."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        """Return what is wrong with `value`, and what may have been meant."""
        said = super().get_invalid_choice_message(value, ctx)
        hint = suggest(str(value), [str(choice) for choice in self.choices])
        return f"{said} {hint[:1].upper()}{hint[1:]}".rstrip()


def _dotted(option: click.Option) -> str:
    return (option.name or "").replace("__", ".")
