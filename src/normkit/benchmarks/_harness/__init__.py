"""What the suites share: the stopwatch, the roofs, the records and the report. The suites themselves stand one up."""
