from .contractive import Contractive as Contractive
from .denoising import Denoising as Denoising
from .importance_weighted import ImportanceWeighted as ImportanceWeighted
from .l1_sparse import L1Sparse as L1Sparse
from .masked import Masked as Masked
from .top_k import TopK as TopK
from .variational import Variational as Variational
