"""Client of a coordinator: jobs as objects, watching as an iterator, tables as pandas DataFrames."""
from __future__ import annotations

import contextlib
import ipaddress
import os
import pathlib
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Sequence, Union

import grpc

from merganser import errors, job_file
from merganser.v1 import (fleet_service_pb2, fleet_service_pb2_grpc, job_pb2, job_service_pb2, job_service_pb2_grpc,
                          record_pb2)

if TYPE_CHECKING:
    import pandas

_ENDED = ("succeeded", "failed", "cancelled", "damaged")
_PAGE = 1000
_PROBE = 3.0  # seconds for a coordinator to say whether it leads
_CHANNEL_OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.keepalive_time_ms", 30000),
                    ("grpc.initial_reconnect_backoff_ms", 200), ("grpc.min_reconnect_backoff_ms", 1000),
                    ("grpc.max_reconnect_backoff_ms", 2000)]


def _is_loopback(server: str) -> bool:
    """An address of this machine; "127.example.org" is another one's name."""
    if server.startswith("unix:"):
        return True
    host = server.rpartition(":")[0]
    try:
        return host in ("localhost", "[::1]") or ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _options(server: str) -> "list[tuple[str, int]]":
    # No proxy of the environment knows the way to this machine.
    return _CHANNEL_OPTIONS + ([("grpc.enable_http_proxy", 0)] if _is_loopback(server) else [])


class _Token(grpc.AuthMetadataPlugin):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        callback((("authorization", f"Bearer {self._token}"),), None)


def _read(path: "Optional[str | os.PathLike[str]]") -> Optional[bytes]:
    return pathlib.Path(path).read_bytes() if path else None


class _Server:
    """One coordinator's address and the calls that it answers."""

    def __init__(self, address: str, channel: grpc.Channel) -> None:
        self.address = address
        self.channel = channel
        self._stubs = (job_service_pb2_grpc.JobServiceStub(channel), fleet_service_pb2_grpc.FleetServiceStub(channel))

    def method(self, name: str) -> Any:
        return next(getattr(stub, name) for stub in self._stubs if hasattr(stub, name))


class Client:
    """A coordinator, with those that stand by for it.

    `server` is HOST:PORT, by default $MERGANSER_SERVER or 127.0.0.1:50051; with stand-bys, all of them: a list, or separated by
    commas. The one that leads is found, and found again when it goes away. With `ca` the connections are TLS and trust servers
    that it signed; `cert` and `key` are this client's certificate; `token` or `token_file` its token, which never travels
    without TLS beyond loopback. `timeout` seconds bound a single call. Thread-safe; usable in `with`.
    """

    def __init__(self, server: "Union[str, Sequence[str], None]" = None, *, ca: "Optional[str | os.PathLike[str]]" = None,
                 cert: "Optional[str | os.PathLike[str]]" = None, key: "Optional[str | os.PathLike[str]]" = None,
                 token: Optional[str] = None, token_file: "Optional[str | os.PathLike[str]]" = None,
                 timeout: float = 30.0) -> None:
        server = server or os.environ.get("MERGANSER_SERVER") or "127.0.0.1:50051"
        addresses = [a.strip() for a in (server.split(",") if isinstance(server, str) else server) if a.strip()]
        if not addresses:
            raise ValueError("server: names no coordinator")
        self.server = ",".join(addresses)
        self.timeout = timeout
        if token_file:
            token = pathlib.Path(token_file).read_text().splitlines()[0].split()[-1]
        self._flags = [f"--{name}={value}" for name, value in
                       (("server", self.server), ("ca", ca), ("cert", cert), ("key", key), ("token-file", token_file)) if value]
        self._metadata: Any = None
        if ca:
            credentials = grpc.ssl_channel_credentials(_read(ca), _read(key), _read(cert))
            if token:
                credentials = grpc.composite_channel_credentials(credentials, grpc.metadata_call_credentials(_Token(token)))
            channels = [grpc.secure_channel(address, credentials, _options(address)) for address in addresses]
        else:
            for address in addresses if token else ():
                if not _is_loopback(address):
                    raise ValueError(f"a token would travel to {address} in plain text: give `ca`")
                self._metadata = (("authorization", f"Bearer {token}"),)
            channels = [grpc.insecure_channel(address, _options(address)) for address in addresses]
        self._servers = [_Server(*pair) for pair in zip(addresses, channels)]
        self._leader: Optional[_Server] = self._servers[0] if len(addresses) == 1 else None  # None: to be found

    def close(self) -> None:
        for server in self._servers:
            server.channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find_leader(self) -> _Server:
        """The one that leads, as last found. Unavailable if none does."""
        leader = self._leader
        if leader:
            return leader
        kind, answers = errors.Unavailable, []
        for server in self._servers:
            error = self._why_it_does_not_lead(server)
            if error is None:
                self._leader = server
                return server
            problem = errors.from_rpc(error, server.address)
            if isinstance(problem, errors.PermissionDenied):
                kind = type(problem)  # who is refused is told so, whatever the others' reasons are
            answers.append(f"{server.address}: {error.details() or error.code().name}")
        raise kind(f"none of the coordinators leads: {'; '.join(answers)}")

    def _why_it_does_not_lead(self, server: _Server) -> Optional[grpc.RpcError]:
        """None if it does. A stand-by answers that it is unavailable, a frozen coordinator nothing."""
        deadline = time.monotonic() + min(_PROBE, self.timeout)
        while True:
            try:
                server.method("ListWorkers")(fleet_service_pb2.ListWorkersRequest(),
                                             timeout=max(0.0, deadline - time.monotonic()), metadata=self._metadata)
                return None
            except grpc.RpcError as error:
                if not errors.says_when_to_retry(error) or time.monotonic() + 0.1 > deadline:
                    return error
            time.sleep(0.1)

    def _lost(self, server: _Server) -> bool:
        """After a call that `server` did not answer: whether another may lead by now."""
        if len(self._servers) == 1:
            return False
        if self._leader is server:
            self._leader = None
        return True

    def _call(self, method: str, request: Any) -> Any:
        deadline = time.monotonic() + self.timeout
        again = True
        while True:
            server = self._find_leader()
            try:
                return server.method(method)(request, timeout=max(0.0, deadline - time.monotonic()), metadata=self._metadata)
            except grpc.RpcError as error:
                problem = errors.from_rpc(error, server.address)
                late = time.monotonic() + 0.1 > deadline
                if errors.says_when_to_retry(error):
                    if late:
                        raise problem from None
                elif not isinstance(problem, errors.Unavailable) or not self._lost(server) or late or not again:
                    raise problem from None
                else:
                    again = False
            time.sleep(0.1)

    def submit(self, job: job_file.JobLike, *, request_id: Optional[str] = None) -> "Job":
        """Gives a job (a YAML file's path, the same as a dict, or a JobSpec) to the coordinator.

        Its model and data paths must be the same on the workers. Repeated with the same `request_id` it is the same job; a
        call that the coordinator did not answer is repeated once with the id it had, which Unavailable then names.
        """
        request = job_service_pb2.CreateJobRequest(request_id=request_id or uuid.uuid4().hex, spec=job_file.read(job))
        try:
            response = self._call("CreateJob", request)
        except errors.Unavailable:
            time.sleep(1)
            try:
                response = self._call("CreateJob", request)
            except errors.Unavailable as error:
                raise errors.Unavailable(f"{error}; to repeat this submission without making a second job give "
                                         f"request_id={request.request_id!r}") from None
        return Job(self, response.job)

    def validate(self, job: job_file.JobLike) -> None:
        """Has the coordinator check a job without making it; InvalidJob names the field."""
        self._call("CreateJob", job_service_pb2.CreateJobRequest(spec=job_file.read(job), validate_only=True))

    def job(self, job: str) -> "Job":
        """The job of this id, or the newest of this name."""
        return Job(self, self._call("GetJob", job_service_pb2.GetJobRequest(job=job)).job)

    def jobs(self) -> "List[Job]":
        """All jobs."""
        out: List[Job] = []
        request = job_service_pb2.ListJobsRequest(page_size=_PAGE)
        while True:
            response = self._call("ListJobs", request)
            out.extend(Job(self, job) for job in response.jobs)
            if not response.next_page_token:
                return out
            request.page_token = response.next_page_token

    def workers(self) -> "List[fleet_service_pb2.Worker]":
        """The workers that are or were connected to this coordinator."""
        return list(self._call("ListWorkers", fleet_service_pb2.ListWorkersRequest()).workers)

    def drain(self, worker: str) -> None:
        """Lets a worker (its id) finish what it runs and gives it no more."""
        self._call("DrainWorker", fleet_service_pb2.DrainWorkerRequest(worker=worker))

    def quarantine(self, worker: str, duration: "Union[str, float, None]" = None, reason: str = "") -> None:
        """Gives a worker (its id) no more work, without ending it: for `duration` ("2h", or seconds), else until its release."""
        request = fleet_service_pb2.QuarantineWorkerRequest(worker=worker, reason=reason)
        if duration is not None:
            request.duration.FromNanoseconds(round(1e9 * job_file.seconds(duration, "duration")))
        self._call("QuarantineWorker", request)

    def release(self, worker: str) -> None:
        """Ends a worker's quarantine, the coordinator's own too."""
        self._call("ReleaseWorker", fleet_service_pb2.ReleaseWorkerRequest(worker=worker))


@dataclass(frozen=True)
class Update:
    """The state of a job after an event."""

    seq: int  # of the event; 0 for the state at the start
    event: Optional[record_pb2.JobEvent]
    message: job_pb2.Job

    @property
    def state(self) -> str:
        return self.message.state

    @property
    def done(self) -> int:
        """Proposals of the search that are finished."""
        return self.message.search_finished

    @property
    def best(self) -> Optional[float]:
        """The first objective's best value so far."""
        return self.message.best_fitness[0] if self.message.best_fitness else None


class Job:
    """A job of a coordinator. Attributes are as of the last call that asked the coordinator; `refresh()` asks anew."""

    def __init__(self, client: Client, message: job_pb2.Job) -> None:
        self._client = client
        self.message = message
        self.binding_budget = ""  # of the last update()

    def __repr__(self) -> str:
        best = "-" if self.best_fitness is None else f"{self.best_fitness:.4f}"
        return f"<Job {self.id} {self.name!r} {self.state}, {self.done} done, best {best}>"

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def name(self) -> str:
        return self.message.spec.name

    @property
    def spec(self) -> job_pb2.JobSpec:
        return self.message.spec

    @property
    def state(self) -> str:
        """"preparing", "baselines", "search", "finalists", "held_out", "succeeded", "failed", "cancelled" or, set
        aside because its log is damaged, "damaged"."""
        return self.message.state

    @property
    def ended(self) -> bool:
        return self.state in _ENDED

    @property
    def done(self) -> int:
        """Proposals of the search that are finished."""
        return self.message.search_finished

    @property
    def best_fitness(self) -> Optional[float]:
        """The first objective's best value so far; every objective is in message.best_fitness."""
        return self.message.best_fitness[0] if self.message.best_fitness else None

    def refresh(self) -> "Job":
        self.message = self._client.job(self.id).message
        return self

    def cancel(self) -> "Job":
        """Ends the job; what is finished stays."""
        response = self._client._call("CancelJob", job_service_pb2.CancelJobRequest(job=self.id))
        self.message = response.job
        return self

    def pause(self) -> "Job":
        """Lets what runs finish and dispatches nothing new."""
        response = self._client._call("PauseJob", job_service_pb2.PauseJobRequest(job=self.id))
        self.message = response.job
        return self

    def resume(self) -> "Job":
        """Lets a paused job go on, and takes up one that failed: what failed for reasons outside of it is tried again."""
        response = self._client._call("ResumeJob", job_service_pb2.ResumeJobRequest(job=self.id))
        self.message = response.job
        return self

    def update(self, *, priority: Optional[int] = None, share: Optional[float] = None, max_attempts: Optional[int] = None,
               attempt_timeout: "Union[str, float, None]" = None, wall_time: "Union[str, float, None]" = None,
               gpu_time: "Union[str, float, None]" = None, stage: Optional[int] = None, **budget: float) -> "Job":
        """Changes the job; `candidates`, `generations`, `samples`, `target`, `wall_time` and `gpu_time` are its budget's.

        A larger budget lets a job that has succeeded go on; one that failed goes on when it is resumed; `binding_budget` says
        which other bound ends the search first, if one does. Times are "1h30m", or seconds. `stage`: whose budget, 1 for the
        first; by default the last one's.
        """
        request = job_service_pb2.UpdateJobRequest(job=self.id)
        if stage is not None:
            request.stage = stage - 1
        if attempt_timeout is not None:
            request.spec.attempt_timeout.FromNanoseconds(round(1e9 * job_file.seconds(attempt_timeout, "attempt_timeout")))
            request.update_mask.paths.append("attempt_timeout")
        for name, value in (("wall_time", wall_time), ("gpu_time", gpu_time)):
            if value is not None:
                getattr(request.spec.budget, name).FromNanoseconds(round(1e9 * job_file.seconds(value, name)))
                request.update_mask.paths.append("budget." + name)
        for name, value in (("priority", priority), ("share", share), ("max_attempts", max_attempts)):
            if value is not None:
                setattr(request.spec, name, value)
                request.update_mask.paths.append(name)
        for name, value in budget.items():
            if name not in ("candidates", "generations", "samples", "target"):
                raise TypeError(f"update() has no argument '{name}'")
            setattr(request.spec.budget, name, value)
            request.update_mask.paths.append("budget." + name)
        response = self._client._call("UpdateJob", request)
        self.message, self.binding_budget = response.job, response.binding_budget
        return self

    def watch(self, after: int = 0) -> Iterator[Update]:
        """The job's events after the one numbered `after`, those already logged first, until the job ends.

        A lost connection is made again and goes on where it was, however long the coordinator is away; only one that has
        not answered for the first minute is an error.
        """
        give_up: Optional[float] = time.monotonic() + 60
        while True:
            request = job_service_pb2.WatchJobRequest(job=self.id, after_seq=after)
            try:
                server = self._client._find_leader()
                for response in server.method("WatchJob")(request, metadata=self._client._metadata):
                    give_up = None
                    self.message = response.job
                    after = max(after, response.seq)
                    yield Update(response.seq, response.event if response.seq else None, response.job)
                if self.refresh().ended:
                    return
            except grpc.RpcError as error:
                problem = errors.from_rpc(error, server.address)
                if not isinstance(problem, errors.Unavailable):
                    raise problem from None
                self._client._lost(server)
            except errors.Unavailable as error:
                problem = error
            else:
                continue
            if give_up is not None and time.monotonic() > give_up:
                raise problem
            time.sleep(1)

    def wait(self, timeout: Optional[float] = None) -> "Job":
        """Returns once the job has succeeded. JobFailed if it fails, is cancelled or damaged, TimeoutError after `timeout`
        seconds.

        A coordinator that goes away meanwhile is waited for.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.2
        self.refresh()
        while not self.ended:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{self.id} is {self.state} after {timeout:g} s")
            left = pause if deadline is None else min(pause, max(0.0, deadline - time.monotonic()))
            time.sleep(left)
            pause = min(pause * 1.5, 5.0)
            with contextlib.suppress(errors.Unavailable):
                self.refresh()
        if self.state != "succeeded":
            raise errors.JobFailed(f"{self.id} {self.name} is {self.state}: {self.message.message}", self)
        return self

    def candidates(self, *, kind: str = "", state: str = "", order_by: str = "number",
                   limit: Optional[int] = None) -> "List[job_pb2.Candidate]":
        """Candidates as messages: of one `kind` ("source", "average", "search", "finalist", "held_out") and `state`, in the order of
        "number" or "fitness" (best first)."""
        out: List[job_pb2.Candidate] = []
        request = job_service_pb2.ListCandidatesRequest(
            job=self.id, kind=kind, state=state, order_by=order_by, page_size=min(_PAGE, limit or _PAGE))
        while True:
            response = self._client._call("ListCandidates", request)
            out.extend(response.candidates)
            if not response.next_page_token or (limit and len(out) >= limit):
                return out[:limit] if limit else out
            request.page_token = response.next_page_token

    def candidate(self, number: int) -> job_pb2.Candidate:
        request = job_service_pb2.GetCandidateRequest(job=self.id, candidate=number)
        return self._client._call("GetCandidate", request).candidate

    @property
    def best(self) -> Optional[job_pb2.Candidate]:
        """The best candidate so far, with its recipe and genome."""
        return self.candidate(self.message.best_candidate) if self.refresh().message.HasField("best_candidate") else None

    def record(self, number: int) -> record_pb2.ResultRecord:
        """What a worker recorded of a finished candidate: every sample's outcome, timings, versions."""
        request = job_service_pb2.GetCandidateRequest(job=self.id, candidate=number, with_record=True)
        response = self._client._call("GetCandidate", request)
        if not response.HasField("record"):
            raise errors.NotFound(f"candidate {number} of {self.id} has no record: it is {response.candidate.state}")
        return response.record

    def candidates_frame(self, *, kind: str = "search", state: str = "") -> "pandas.DataFrame":
        """A row per candidate, indexed by its number: kind, label, generation, state, a column per objective and metric
        ("ja_math.acc_ja"), seconds, and the genome as g0, g1, ... (NaN where there is none yet)."""
        import pandas

        rows = []
        for c in self.candidates(kind=kind, state=state):
            row = {"candidate": c.number, "kind": c.kind, "label": c.label, "generation": c.generation, "state": c.state,
                   "fitness": c.fitness[0] if c.fitness else float("nan")}
            row.update({f"fitness{i}": value for i, value in enumerate(c.fitness) if i > 0})
            for benchmark, metrics in sorted(c.metrics.items()):
                row.update({f"{benchmark}.{name}": value for name, value in sorted(metrics.values.items())})
            t = c.timings
            row["seconds"] = t.materialize + t.tokenize + t.prefill + t.decode + t.score + t.record
            row["message"] = c.message
            row.update({f"g{i}": value for i, value in enumerate(c.genome)})
            rows.append(row)
        if not rows:
            return pandas.DataFrame(columns=["kind", "label", "generation", "state", "fitness"])
        return pandas.DataFrame(rows).set_index("candidate")

    def samples_frame(self, number: int) -> "pandas.DataFrame":
        """A row per sample of a finished candidate: benchmark, question, answer, completion, prediction, correct."""
        import pandas

        rows = [{"benchmark": result.benchmark, "sample": i, "question": s.question, "answer": s.answer,
                 "completion": s.completion, "prediction": s.prediction, "correct": s.correct, **dict(s.values)}
                for result in self.record(number).evaluation.results for i, s in enumerate(result.samples)]
        return pandas.DataFrame(rows)

    def export(self, out: "Union[str, os.PathLike[str]]", candidate: Optional[int] = None, *,
               overwrite: bool = False, program: "Optional[str | os.PathLike[str]]" = None) -> pathlib.Path:
        """Writes the best candidate (or another) as a Hugging Face checkpoint folder, which must see the job's models.

        The merging is done by the `merganser` program: the one that came with this package, else the one on PATH, else
        `program`.
        """
        here = pathlib.Path(__file__).resolve().parent / "native" / "bin" / "merganser"
        found = program or (here if here.exists() else shutil.which("merganser"))
        if not found:
            raise errors.MerganserError("export needs the `merganser` program: none came with this package, none is on PATH")
        command = [str(found), "export", self.id if candidate is None else f"{self.id}/{candidate}", "--out", os.fspath(out)]
        run = subprocess.run(command + (["--overwrite"] if overwrite else []) + self._client._flags,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            raise errors.MerganserError(run.stderr.strip() or f"merganser export ended with code {run.returncode}")
        return pathlib.Path(out)
