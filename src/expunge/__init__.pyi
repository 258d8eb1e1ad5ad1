__version__: str

from .adversarial import Attack as Attack
from .api import make_method as make_method
from .api import unlearn as unlearn
from .classifier import Bounds as Bounds
from .classifier import Classifier as Classifier
from .edit import Edit as Edit
from .errors import ExpungeError as ExpungeError
from .errors import ExpungeWarning as ExpungeWarning
from .forget import ForgetSet as ForgetSet
from .goals import Misclassify as Misclassify
from .goals import Relabel as Relabel
from .methods import METHODS as METHODS
from .task import Limits as Limits
from .task import StopReason as StopReason
from .task import Strength as Strength
