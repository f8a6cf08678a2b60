from .code_distance import CodeDistance as CodeDistance
from .distortion import Distortion as Distortion
from .neighbour_distance import NeighbourDistance as NeighbourDistance
from .whitened_residual import WhitenedResidual as WhitenedResidual
