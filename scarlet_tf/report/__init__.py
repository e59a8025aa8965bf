"""The page of a run, report.html, made of a Record of its results."""
