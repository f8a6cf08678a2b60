from .curves import plot_history as plot_history
from .judged import advice_page as advice_page
from .judged import evaluation_page as evaluation_page
from .live import LiveCurves as LiveCurves
from .mapping import map_of as map_of
from .writing import report as report
