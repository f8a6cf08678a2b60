from .detect import AnomalyDetector as AnomalyDetector
