"""The methods, one a file, and the one table of them that everything else reads; other packages may add to it."""

from expunge.methods.amun import Amun, AmunRetain
from expunge.methods.bad_teacher import BadTeacher
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.correct import Correct
from expunge.methods.delete import Delete
from expunge.methods.fine_tune import FineTune
from expunge.methods.influence import Influence
from expunge.methods.jit import JiT
from expunge.methods.l1_sparse import L1Sparse
from expunge.methods.l2ul import L2UL
from expunge.methods.l2ul_released import L2ULFaithful
from expunge.methods.least_change import LeastChange
from expunge.methods.mu_mis import MuMis
from expunge.methods.negative_gradient import NegativeGradient
from expunge.methods.neggrad_plus import NegGradPlus
from expunge.methods.oracle import Oracle
from expunge.methods.protocol import Method
from expunge.methods.random_label import RandomLabel
from expunge.methods.retrain import Retrain
from expunge.methods.ruago import Ruago
from expunge.methods.salun import SalUn
from expunge.methods.scrub import Scrub
from expunge.methods.ssd import SSD
from expunge.methods.table import MethodTable

OWN: tuple[type[Method], ...] = (
    LeastChange,
    L2UL,
    L2ULFaithful,
    NegativeGradient,
    Correct,
    BoundaryShrink,
    Delete,
    Amun,
    JiT,
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
METHODS = MethodTable(OWN)
