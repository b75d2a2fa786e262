"""Mathematics over a model: noise levels, schedules, solvers, guidance. No files, no recipes."""
