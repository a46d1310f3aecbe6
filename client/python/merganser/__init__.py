"""Python client of Merganser.

    import merganser
    client = merganser.Client("coordinator:50051")
    job = client.submit("job.yaml")
    for update in job.watch():
        print(update.done, update.best)
    job.candidates_frame()          # pandas
    job.export("out/best")

Messages are those of the protos: merganser.v1.job_pb2 and its neighbours.
"""
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from merganser.client import Client, Job, Update
    from merganser.errors import InvalidJob, JobFailed, MerganserError, NotFound, PermissionDenied, Unavailable

_HOMES = {
    "Client": "client", "Job": "client", "Update": "client",
    "MerganserError": "errors", "InvalidJob": "errors", "NotFound": "errors", "PermissionDenied": "errors",
    "Unavailable": "errors", "JobFailed": "errors",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # On first use: the programs' entry points import this package too and need no gRPC.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"merganser.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'merganser' has no attribute '{name}'")
