"""The frame in which probes work: examination, monitoring, treatment, patients and pages; its face is the room's."""
