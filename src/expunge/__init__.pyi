__version__: str

from .base.errors import ExpungeError as ExpungeError
from .base.errors import ExpungeWarning as ExpungeWarning
from .compute.runtime import Runtime as Runtime
from .data.forget import ForgetSet as ForgetSet
from .jobs.audit_edit import audit_edit as audit_edit
from .methods import METHODS as METHODS
from .methods import make_method as make_method
from .methods.unlearn import Interrupted as Interrupted
from .methods.unlearn import unlearn as unlearn
from .models.classifier import Classifier as Classifier
from .models.pixels import Bounds as Bounds
from .surrogates.attack import Attack as Attack
from .task.edit import Edit as Edit
from .task.goals import Misclassify as Misclassify
from .task.goals import Relabel as Relabel
from .task.task import Limits as Limits
from .task.task import StopReason as StopReason
from .task.task import Strength as Strength
