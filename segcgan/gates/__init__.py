"""Gates: decide, without a reference, whether the refined or the coarse mask is kept."""

from segcgan.gates.agreement import AgreementGate
from segcgan.gates.base import Gate, GateExample

__all__ = ["AgreementGate", "Gate", "GateExample"]
