from .copying import Copying as Copying
from .copying import copying as copying
from .likelihood import log_likelihood as log_likelihood
from .many import fit_many as fit_many
