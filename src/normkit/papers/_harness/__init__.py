"""The harness of the papers: what a paper is, how its runs are measured, judged and shown."""
