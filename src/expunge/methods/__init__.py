"""The methods, one a file, and the one table of them that everything else reads."""

from expunge.methods.correct import Correct
from expunge.methods.fine_tune import FineTune
from expunge.methods.l2ul import L2UL, L2ULFaithful
from expunge.methods.least_change import LeastChange
from expunge.methods.negative_gradient import NegativeGradient
from expunge.methods.protocol import Method

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        LeastChange,
        L2UL,
        L2ULFaithful,
        NegativeGradient,
        Correct,
        FineTune,
    )
}
