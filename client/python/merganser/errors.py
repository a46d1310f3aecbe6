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
    """The coordinator does not answer, or its store is away; may be repeated."""


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
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
}


def from_rpc(error: grpc.RpcError, server: str) -> MerganserError:
    code, details = error.code(), error.details()
    kind = _BY_CODE.get(code, MerganserError)
    where = f" (coordinator {server})" if kind in (Unavailable, PermissionDenied) else ""
    return kind(f"{details or code.name}{where}")
