from .many import fit_many as fit_many
