"""The one training loop, its settings, and what it tells.

Knows modules and batches; where batches come from is the caller's business.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
