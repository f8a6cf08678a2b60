from .gaussian import Gaussian as Gaussian
from .masking import Masking as Masking
from .salt_and_pepper import SaltAndPepper as SaltAndPepper
from .swap import Swap as Swap
