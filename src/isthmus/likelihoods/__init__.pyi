from .bernoulli import Bernoulli as Bernoulli
from .categorical import Categorical as Categorical
from .laplace import Laplace as Laplace
from .mixed import Mixed as Mixed
from .normal import Normal as Normal
