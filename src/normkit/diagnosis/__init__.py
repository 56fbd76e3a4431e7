"""Diagnosis: one module per pathology, each a probe; `diagnose` runs them, `treat` applies what they advise.

    diagnosis = normkit.diagnose(model, data)      # nothing in the model changes
    print(diagnosis.to_json()); diagnosis.report("report.html")
    treatment = normkit.diagnosis.treat(model, data, diagnosis)

A probe is a module of this folder with one subclass of `Probe` (or of `ModuleProbe`, which watches modules); nothing is
registered anywhere else. `probes()` lists them.
"""

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.discovery import probes
from normkit.diagnosis._framework.embedded import diagnose_default, treat_default
from normkit.diagnosis._framework.examination import diagnose
from normkit.diagnosis._framework.finding import Finding, Severity, Site, Skipped
from normkit.diagnosis._framework.monitoring import Monitor, monitor
from normkit.diagnosis._framework.patients import PATIENTS, Patient
from normkit.diagnosis._framework.probe import ModuleProbe, Place, Probe
from normkit.diagnosis._framework.remedy import Remedy
from normkit.diagnosis._framework.result import Diagnosis
from normkit.diagnosis._framework.self_test import SelfTest, self_test
from normkit.diagnosis._framework.treatment import Quality, Treatment, treat

__all__ = [
    "PATIENTS",
    "Context",
    "Diagnosis",
    "Finding",
    "ModuleProbe",
    "Monitor",
    "Patient",
    "Place",
    "Probe",
    "Quality",
    "Remedy",
    "SelfTest",
    "Severity",
    "Site",
    "Skipped",
    "Treatment",
    "diagnose",
    "diagnose_default",
    "monitor",
    "probes",
    "self_test",
    "treat",
    "treat_default",
]
