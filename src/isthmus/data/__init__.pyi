from .images import Images as Images
from .series import Series as Series
from .tables import Tables as Tables
