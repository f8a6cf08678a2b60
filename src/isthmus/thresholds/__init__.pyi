from .conformal import Conformal as Conformal
from .deviation import Deviation as Deviation
from .fixed import Fixed as Fixed
from .quantile import Quantile as Quantile
