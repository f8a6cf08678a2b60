"""The contracts that every part must survive, public: run them on your own parts too.

>>> from isthmus.checks import check_part
>>> from isthmus.variants import L1Sparse
>>> check_part(L1Sparse(weight=0.5))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
