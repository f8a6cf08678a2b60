from .images import Images as Images
from .tables import Tables as Tables
