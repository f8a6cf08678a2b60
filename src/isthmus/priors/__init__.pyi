from .standard_normal import StandardNormal as StandardNormal
