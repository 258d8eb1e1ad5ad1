"""Images of a request whose answer was another than their label before the edit, which then changed nothing of them."""

from expunge.requests.state import LedgerState, Request, Version


def unchanged_of(state: LedgerState, request: Request) -> int:
    """Return how many images of a request its version found answered otherwise than labelled, and left so."""
    if request.version is None:
        return 0
    found = state.versions[request.version].figures.get("unchanged", {}).get(request.name)
    return int(found["images"]) if found else 0


def tell_unchanged(version: Version) -> dict[str, str]:
    """Return by request a sentence on its images that were answered otherwise before; none where there are none."""
    found = version.figures.get("unchanged", {})
    return {name: say_unchanged(each["images"], each["of"]) for name, each in found.items()}


def say_unchanged(count: int, rows: int) -> str:
    """Return that in a sentence.

    >>> say_unchanged(1, 2)
    '1 of 2 was answered otherwise before; its answer is unchanged'
    """
    one = count == 1
    was, its = ("was", "its answer is") if one else ("were", "their answers are")
    return f"{count} of {rows} {was} answered otherwise before; {its} unchanged"
