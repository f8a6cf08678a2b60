from .denoise import Denoiser as Denoiser
from .detect import AnomalyDetector as AnomalyDetector
