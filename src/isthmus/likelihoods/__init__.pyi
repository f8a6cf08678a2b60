from .bernoulli import Bernoulli as Bernoulli
from .categorical import Categorical as Categorical
from .discretised_logistic import DiscretisedLogistic as DiscretisedLogistic
from .laplace import Laplace as Laplace
from .mixed import Mixed as Mixed
from .normal import Normal as Normal
