from .denoise import Denoiser as Denoiser
from .detect import AnomalyDetector as AnomalyDetector
from .synthesize import Synthesizer as Synthesizer
