"""Pictures of a fitted model, and a report of it in one HTML file that loads nothing from elsewhere."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
