from .tables import Tables as Tables
