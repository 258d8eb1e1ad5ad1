"""Images from a NumPy archive."""

from collections.abc import Mapping
from pathlib import Path

from expunge.base.arrays import Arrays, read_arrays
from expunge.base.errors import DataError
from expunge.data.images import Images, Subset
from expunge.data.sources.array_images import images_from_arrays
from expunge.data.sources.places import check_is_file
from expunge.data.sources.splits import DataRequest, DataSplits

WANTED = ("x_train", "y_train", "x_test", "y_test", "x", "y", "classes")


def load_npz(file: Path, request: DataRequest) -> DataSplits:
    """Return the images of an archive with x_train, y_train and, if there are test images, x_test, y_test.

    `x` and `y` alone are training images. Images and labels are as in `images_from_arrays`; `classes`, an array
    of names, is optional. The archive is read without unpickling anything. The option `first`, after a question mark,
    leaves all training images but so many out.

    Raises:
        DataError: no such file, a damaged one, one that holds pickled objects, arrays that are missing or of the
            wrong type or shape, labels beyond the class names, or not as many names as the classifier has classes.
    """
    check_is_file(file, "npz")
    arrays = read_arrays(file, WANTED)
    train_names = ("x_train", "y_train") if "x_train" in arrays else ("x", "y")
    train = _first(_images(file, arrays, train_names, request), request.options)
    test = _images(file, arrays, ("x_test", "y_test"), request) if "x_test" in arrays else None
    own_names = _class_names(file, arrays)
    if own_names:
        request.check_classes(own_names, f"{file}: classes")
    class_names = request.class_names or own_names
    for images in (train, test):
        highest = int(images.labels.max()) if images is not None else 0
        if class_names and highest >= len(class_names):
            raise DataError(f"{file}: labels", f"labels in 0..{len(class_names) - 1}, as there are names", str(highest))
    return DataSplits(train, test, class_names)


def _first(images: Images, options: Mapping[str, str]) -> Images:
    """Return as many of the images as the options say."""
    said, count = options.get("first"), len(images.labels)
    if said is None:
        return images
    if not said.isascii() or not said.isdigit() or not 1 <= int(said) <= count:
        raise DataError("first", f"a number of training images, 1..{count}", said)
    return Subset(images, range(int(said)))


def _images(file: Path, arrays: Arrays, names: tuple[str, str], request: DataRequest) -> Images:
    missing = [name for name in names if name not in arrays]
    if missing:
        found = ", ".join(arrays) or "none of the known names"
        raise DataError(str(file), "arrays x_train and y_train, or x and y", found, f"{missing[0]} is missing")
    x, y = (arrays[name] for name in names)
    return images_from_arrays(x, y, place=f"{file}: {names[0]}", preprocessing=request.preprocessing)


def _class_names(file: Path, arrays: Arrays) -> tuple[str, ...]:
    names = arrays.get("classes")
    if names is None:
        return ()
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(f"{file}: classes", "a list of names", f"{names.dtype} {names.shape}")
    return tuple(str(name) for name in names.astype(str))
