"""Make a trained image classifier forget chosen training instances, without retraining it.

The public names are listed in `__init__.pyi` and loaded on first use, so that `import expunge` stays quick.
"""

import lazy_loader

from expunge._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
