"""What happened, on record: audit events, sealed into a hash chain.

`record` writes an event in the transaction of what it tells of. High-volume events go through an
`AuditQueue`, which writes them in batches. Neither waits for the chain: a sealer gives committed
events their place in it within a second, one sealer at a time, and signs the head, so that
`verify` finds a row that was changed, removed, reordered or cut off at the end.
"""

from identity.records.audit.chain import Sealed, seal, unsealed
from identity.records.audit.events import AuditQueue, Happened, Outcome, event, happened, record
from identity.records.audit.origins import SYSTEM, Origin, act_as, origin
from identity.records.audit.table import AuditArchive, AuditEvent, AuditHead
from identity.records.audit.verifying import Fault, Place, Verdict, verify

__all__ = [
    "SYSTEM",
    "AuditArchive",
    "AuditEvent",
    "AuditHead",
    "AuditQueue",
    "Fault",
    "Happened",
    "Origin",
    "Outcome",
    "Place",
    "Sealed",
    "Verdict",
    "act_as",
    "event",
    "happened",
    "origin",
    "record",
    "seal",
    "unsealed",
    "verify",
]
