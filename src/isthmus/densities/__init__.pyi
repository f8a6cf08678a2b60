from .mixture import Mixture as Mixture
from .second_stage import SecondStage as SecondStage
