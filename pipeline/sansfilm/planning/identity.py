"""Who an image is of: read for the patients table, hashed for everything else."""

import hashlib

from sansfilm.model import Identity
from sansfilm.planning.values import Values


def read_identity(values: Values) -> Identity:
    """Read the patient's identity; text that its character set cannot decode keeps marks."""
    return Identity(
        patient_id=values.text("PatientID"),
        issuer=values.text("IssuerOfPatientID"),
        name=values.text("PatientName"),
        birth_date=values.text("PatientBirthDate"),
        sex=values.text("PatientSex"),
    )


def patient_key(identity: Identity, study_uid: str) -> str:
    """Return a key that joins a patient's volumes without naming the patient.

    SHA-256 over issuer and Patient ID, 32 hex digits. Without a Patient ID nothing joins two
    studies, so the study stands for the patient.
    """
    named = f"\0\0{study_uid}"
    if identity.patient_id:
        named = f"{identity.issuer}\0{identity.patient_id}"
    return hashlib.sha256(named.encode()).hexdigest()[:32]
