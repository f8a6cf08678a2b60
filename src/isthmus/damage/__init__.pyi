from .gaussian import Gaussian as Gaussian
from .grey import Grey as Grey
from .marks import Marks as Marks
from .masking import Masking as Masking
from .move import Move as Move
from .salt_and_pepper import SaltAndPepper as SaltAndPepper
from .swap import Swap as Swap
