"""What many runs tell: the recorded evidence, the atlas of recorded sweeps, the runs with a known fault and the coach's
exam on them.

What one run tells is in `insight`. Each record is a table of runs and a JSON that says how they came about;
`table` reads, writes, resumes and rechecks them all.
"""
