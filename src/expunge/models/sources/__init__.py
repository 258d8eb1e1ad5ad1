"""Where classifiers come from."""

from expunge.models.sources.load import SOURCES, LoadedClassifier, load_classifier
from expunge.models.sources.source import ModelSource

__all__ = ["SOURCES", "LoadedClassifier", "ModelSource", "load_classifier"]
