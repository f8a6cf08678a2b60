from . import damage as damage
from . import data as data
from . import densities as densities
from . import evaluation as evaluation
from . import likelihoods as likelihoods
from . import networks as networks
from . import priors as priors
from . import report as report
from . import tasks as tasks
from . import thresholds as thresholds
from . import training as training
from . import variants as variants
from .autoencoder import Autoencoder as Autoencoder
from .evaluation import fit_many as fit_many
from .loading import load as load
from .tasks import AnomalyDetector as AnomalyDetector
from .tasks import Denoiser as Denoiser
from .tasks import Synthesizer as Synthesizer
from .training import Training as Training

__version__: str
