from .conv import Conv as Conv
from .custom import Custom as Custom
from .dense import Dense as Dense
from .recurrent import Recurrent as Recurrent
from .transformer import Transformer as Transformer
