from .likelihood import log_likelihood as log_likelihood
from .many import fit_many as fit_many
