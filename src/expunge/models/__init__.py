"""Where classifiers come from."""

from expunge.models.load import SOURCES, LoadedClassifier, load_classifier
from expunge.models.source import ModelSource

__all__ = ["SOURCES", "LoadedClassifier", "ModelSource", "load_classifier"]
