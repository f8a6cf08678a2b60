from .base import Finding as Finding
from .examine import after_training as after_training
from .examine import before_training as before_training
