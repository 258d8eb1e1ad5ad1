"""Whether images are enlarged before a classifier sees them, which is seldom meant."""

from expunge.base.errors import DataError
from expunge.data.images import Images, Subset
from expunge.data.preprocessing import Preprocessing
from expunge.data.sources.array_images import PreprocessedImages
from expunge.data.sources.decoding import decode
from expunge.data.sources.file_images import FileImages


def note_on_size(images: Images, preprocessing: Preprocessing, says_who: str) -> str:
    """Return a sentence if `preprocessing` enlarges the first of `images`, "" if not, or if its size isn't known.

    Args:
        images: as a source gives them.
        preprocessing: what is done to them.
        says_who: where it comes from.
    """
    size = _first_size(images)
    target = preprocessing.resize if isinstance(preprocessing.resize, int) else min(preprocessing.resize or (0,))
    if size is None or target <= min(size):
        return ""
    own = f"{size[0]}x{size[1]}"
    return (
        f"images of {own} are {preprocessing}, as {says_who} has it by default: if the classifier was trained on "
        f"them as they are, say --resize {min(size)} --crop {min(size)}"
    )


def _first_size(images: Images) -> tuple[int, int] | None:
    """Return height and width of the first image as it is in its file or array."""
    if isinstance(images, Subset):
        return _first_size(images.images)
    if isinstance(images, PreprocessedImages):
        height, width = images.pixels.shape[-2:]
        return int(height), int(width)
    if not isinstance(images, FileImages):
        return None
    try:
        picture = decode(images.paths[0]).image
    except DataError:
        return None  # which is said when it is loaded
    return picture.height, picture.width
