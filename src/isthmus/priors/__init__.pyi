from .mixture import Mixture as Mixture
from .standard_normal import StandardNormal as StandardNormal
from .vamp import Vamp as Vamp
