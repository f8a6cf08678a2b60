from .curves import plot_history as plot_history
from .live import LiveCurves as LiveCurves
from .writing import report as report
