from .custom import Custom as Custom
from .dense import Dense as Dense
