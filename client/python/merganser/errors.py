"""What can go wrong, as exceptions; each message is the coordinator's."""
from __future__ import annotations

import grpc


class MerganserError(Exception):
    """Any error of this package."""


class InvalidJob(MerganserError):
    """A job file or argument that cannot work; the message names the field."""


class NotFound(MerganserError):
    """No such job, candidate or worker."""


class PermissionDenied(MerganserError):
    """The token or certificate does not allow this, or there is none."""


class Unavailable(MerganserError):
    """The coordinator does not answer or was called too often, or its store is away; may be repeated."""


class JobFailed(MerganserError):
    """The job ended without success; `job` is the Job."""

    def __init__(self, message: str, job: object) -> None:
        super().__init__(message)
        self.job = job


_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidJob,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: PermissionDenied,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,  # this client cancels nothing: a coordinator does that as it goes away
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
}


def says_when_to_retry(error: grpc.RpcError) -> bool:
    """Whether the coordinator refused a call only because there were too many just now (google.rpc.RetryInfo)."""
    return error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and any(
        key == "grpc-status-details-bin" and b"google.rpc.RetryInfo" in value for key, value in error.trailing_metadata() or ())


def from_rpc(error: grpc.RpcError, server: str) -> MerganserError:
    code, details = error.code(), error.details()
    kind = Unavailable if says_when_to_retry(error) else _BY_CODE.get(code, MerganserError)
    where = f" (coordinator {server})" if kind in (Unavailable, PermissionDenied) else ""
    return kind(f"{details or code.name}{where}")
