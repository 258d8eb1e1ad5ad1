"""The methods, one a file, and the one table of them that everything else reads; other packages may add to it."""

from collections.abc import Mapping
from typing import Any

from expunge.base.errors import SettingsError, suggest
from expunge.base.settings import from_mapping
from expunge.methods.l2ul.released import L2ULFaithful
from expunge.methods.l2ul.stable import L2UL
from expunge.methods.least_change.method import LeastChange
from expunge.methods.protocol import Method
from expunge.methods.published.amun import Amun, AmunRetain
from expunge.methods.published.bad_teacher import BadTeacher
from expunge.methods.published.boundary_shrink import BoundaryShrink
from expunge.methods.published.delete import Delete
from expunge.methods.published.fine_tune import FineTune
from expunge.methods.published.imu import IMU
from expunge.methods.published.influence import Influence
from expunge.methods.published.jit import JiT
from expunge.methods.published.l1_sparse import L1Sparse
from expunge.methods.published.mu_mis import MuMis
from expunge.methods.published.negative_gradient import NegativeGradient
from expunge.methods.published.neggrad_plus import NegGradPlus
from expunge.methods.published.oracle import Oracle
from expunge.methods.published.random_label import RandomLabel
from expunge.methods.published.relabel_only import RelabelOnly
from expunge.methods.published.retrain import Retrain
from expunge.methods.published.ruago import Ruago
from expunge.methods.published.salun import SalUn
from expunge.methods.published.scrub import Scrub
from expunge.methods.published.ssd import SSD
from expunge.methods.published.structguard import StructGuard
from expunge.methods.published.zs_pag import ZSPAG
from expunge.methods.table import MethodTable

OWN: tuple[type[Method], ...] = (
    LeastChange,
    L2UL,
    L2ULFaithful,
    StructGuard,
    NegativeGradient,
    RelabelOnly,
    BoundaryShrink,
    Delete,
    ZSPAG,
    Amun,
    JiT,
    IMU,
    MuMis,
    Ruago,
    Retrain,
    Oracle,
    FineTune,
    NegGradPlus,
    RandomLabel,
    L1Sparse,
    SalUn,
    Scrub,
    BadTeacher,
    SSD,
    Influence,
    AmunRetain,
)
METHODS = MethodTable(OWN, formerly={"correct": "relabel-only"})


def make_method(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """Return the method of that name with `settings` (nested values) over its defaults.

    Raises:
        SettingsError: the method or a setting is unknown, or a value doesn't fit.

    >>> make_method("l2ul", {"attack": {"radius": 2}}).attack.radius
    2
    """
    if name not in METHODS:
        raise SettingsError("method", f"one of {', '.join(METHODS)}", name, suggest(name, METHODS))
    return from_mapping(METHODS[name], settings or {}, "settings.")
