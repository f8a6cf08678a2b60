from .choosing import check_part as check_part
from .choosing import checks_for as checks_for
from .pairs import pair_tables as pair_tables
from .pairs import try_together as try_together
