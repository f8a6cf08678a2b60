from .capacity import Capacity as Capacity
from .conformal import Conformal as Conformal
from .deviation import Deviation as Deviation
from .extreme_value import ExtremeValue as ExtremeValue
from .fixed import Fixed as Fixed
from .quantile import Quantile as Quantile
from .robust import Robust as Robust
from .tuned import Tuned as Tuned
