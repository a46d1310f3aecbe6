"""The Python client against a real coordinator, worker and Redis: client_test.py BIN_DIR (run by run.sh in its environment)."""
import concurrent.futures
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

import grpc
import merganser
import merganser.errors
from merganser.v1 import fleet_service_pb2, fleet_service_pb2_grpc, job_pb2, job_service_pb2, job_service_pb2_grpc

BIN = pathlib.Path(sys.argv.pop(1)).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "ja-math"
CANDIDATES = 24


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("did not happen in time")
        time.sleep(0.1)


class Fleet:
    """Redis, a coordinator and a worker as processes; the user port asks for a token."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="merganser-python-"))
        self.processes = []
        self.redis = f"127.0.0.1:{free_port()}"
        (self.dir / "tokens").write_text("submitter only-for-the-python-client\nworker only-for-the-worker\n")
        (self.dir / "token").write_text("only-for-the-python-client\n")
        (self.dir / "worker-token").write_text("only-for-the-worker\n")
        port = self.redis.split(":")[1]
        self.start("redis", "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", self.dir, "--save", "")
        self.address = f"127.0.0.1:{free_port()}"
        self.worker_address = f"127.0.0.1:{free_port()}"
        self.stand_by_address = f"127.0.0.1:{free_port()}"
        self.stand_by_worker_address = f"127.0.0.1:{free_port()}"
        self.coordinator = self.start_coordinator()
        self.start("worker", BIN / "merganser-worker", "--coordinator", f"{self.worker_address},{self.stand_by_worker_address}",
                   "--store", f"redis://{self.redis}", "--device", "cpu", "--threads", "1", "--spool-dir", self.dir / "spool", "--token-file", self.dir / "worker-token")

    def start_coordinator(self, *flags):
        return self.start("coordinator", BIN / "merganser-coordinator", "--store", f"redis://{self.redis}", "--listen",
                          self.address, "--worker-listen", self.worker_address, "--http", "", "--token-file",
                          self.dir / "tokens", "--leader-lease", "3s", *flags)

    def start_stand_by(self):
        return self.start("stand-by", BIN / "merganser-coordinator", "--store", f"redis://{self.redis}", "--listen",
                          self.stand_by_address, "--worker-listen", self.stand_by_worker_address, "--http", "", "--token-file",
                          self.dir / "tokens", "--leader-lease", "3s")

    def start(self, name, *command):
        with open(self.dir / f"{name}.log", "ab") as log:
            process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir)


class Departing(job_service_pb2_grpc.JobServiceServicer):
    """A coordinator that cancels its first watch, as one does that goes away, and answers the next one."""

    def __init__(self):
        self.watches = 0

    def job(self):
        return job_pb2.Job(id="job-1", state="search" if self.watches < 2 else "succeeded")

    def GetJob(self, request, context):
        return job_service_pb2.GetJobResponse(job=self.job())

    def WatchJob(self, request, context):
        self.watches += 1
        yield job_service_pb2.WatchJobResponse(job=self.job())
        if self.watches == 1:
            context.abort(grpc.StatusCode.CANCELLED, "Cancelled on the server side")


class CalledTooOften(job_service_pb2_grpc.JobServiceServicer, fleet_service_pb2_grpc.FleetServiceServicer):
    """A coordinator that leads, and tells the first caller to come back."""

    def __init__(self):
        self.asked = 0

    def ListWorkers(self, request, context):
        self.asked += 1
        if self.asked == 1:
            context.set_trailing_metadata((("grpc-status-details-bin", b"type.googleapis.com/google.rpc.RetryInfo"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of one client; try again in 100ms")
        return fleet_service_pb2.ListWorkersResponse()

    def ListJobs(self, request, context):
        return job_service_pb2.ListJobsResponse()


class AloneTest(unittest.TestCase):
    """What needs no fleet."""

    def test_a_leader_that_was_asked_too_often_just_now_is_one_nevertheless(self):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        busy = CalledTooOften()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(busy, server)
        fleet_service_pb2_grpc.add_FleetServiceServicer_to_server(busy, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with merganser.Client(["127.0.0.1:1", f"127.0.0.1:{port}"]) as client:
            self.assertEqual(client.jobs(), [])
        self.assertEqual(busy.asked, 2)
        server.stop(None)

    def test_a_watch_that_the_coordinator_cancels_as_it_goes_away_goes_on(self):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        departing = Departing()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(departing, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with merganser.Client(f"127.0.0.1:{port}") as client:
            self.assertEqual([u.state for u in client.job("job-1").watch()], ["search", "succeeded"])
        self.assertEqual(departing.watches, 2)
        server.stop(None)

    def test_where_none_leads_the_error_says_what_each_answered(self):
        for servers in ("127.0.0.1:1,127.0.0.1:2", ["127.0.0.1:1", "127.0.0.1:2"]):
            with self.assertRaisesRegex(merganser.Unavailable, "none of the coordinators leads: 127.0.0.1:1: .*; 127.0.0.1:2: "):
                merganser.Client(servers, timeout=5).jobs()
        with merganser.Client("127.0.0.1:1", timeout=5) as client:  # a job that may have been made is not made twice
            with self.assertRaisesRegex(merganser.Unavailable, "without making a second job give request_id='[0-9a-f]{32}'"):
                client.submit({"name": "x"})
            with self.assertRaisesRegex(merganser.Unavailable, "give request_id='mine'"):
                client.submit({"name": "x"}, request_id="mine")
        with self.assertRaisesRegex(ValueError, "names no coordinator"):
            merganser.Client([" "])
        with self.assertRaisesRegex(ValueError, "would travel to far.example:1 in plain text"):
            merganser.Client(["127.0.0.1:1", "far.example:1"], token="x" * 16)


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fleet = Fleet()
        cls.client = merganser.Client(cls.fleet.address, token_file=cls.fleet.dir / "token")

        def leads():
            try:
                cls.client.jobs()
                return True
            except merganser.Unavailable:
                return False

        eventually(leads)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.fleet.stop()

    def job_file(self, candidates=CANDIDATES):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.fleet.dir))
        text = (EXAMPLE / "job.yaml").read_text().replace("candidates: 400", f"candidates: {candidates}")
        text = text.replace("    data: tasks/", "    limit: 40\n    data: tasks/").replace(", data: tasks/", ", limit: 20, data: tasks/")
        for name in ("base", "ja", "math-en", "tasks"):
            (folder / name).symlink_to(EXAMPLE / name)
        (folder / "job.yaml").write_text(text.replace("budget: {", "budget: {wall_time: 1h30m, "))
        return folder / "job.yaml"

    def test_a_job_from_submission_to_checkpoint(self):
        job = self.client.submit(self.job_file())
        self.assertEqual(job.name, "ja-math")
        self.assertEqual(job.spec.budget.wall_time.seconds, 5400, "durations are written as in any job file")
        updates = list(job.watch())
        seqs = [u.seq for u in updates if u.seq]
        self.assertEqual(seqs, sorted(set(seqs)), "each event once, in order")
        self.assertEqual(updates[-1].state, "succeeded")
        self.assertEqual(job.wait(timeout=60).done, CANDIDATES)

        frame = job.candidates_frame()
        self.assertEqual(len(frame), CANDIDATES)
        self.assertEqual(frame["fitness"].max(), job.best_fitness)
        self.assertEqual(frame["fitness"].idxmax(), job.best.number)
        self.assertTrue((frame["ja_math.acc_ja"] == frame["fitness"]).all())
        self.assertIn("g15", frame.columns, "16 numbers per genome")
        self.assertEqual(sorted(job.candidates_frame(kind="source")["label"]), ["base", "ja", "math"])
        self.assertEqual([c.number for c in job.candidates(kind="search", order_by="fitness", limit=1)], [job.best.number])
        self.assertTrue(job.candidates_frame(kind="search", state="failed").empty)

        samples = job.samples_frame(job.best.number)
        self.assertAlmostEqual(samples["correct"].mean(), job.best_fitness)
        self.assertIn("completion", samples.columns)

        out = job.export(self.fleet.dir / "best", program=BIN / "merganser")
        self.assertTrue((out / "config.json").exists())
        self.assertTrue((out / "recipe.yaml").exists())
        with self.assertRaisesRegex(merganser.MerganserError, "best"):
            job.export(out, program=BIN / "merganser")  # is there already

    def test_watch_goes_on_where_it_was_when_the_coordinator_comes_back(self):
        job = self.client.submit(self.job_file(candidates=60))
        seqs, killed = [], False
        for update in job.watch():
            if update.seq:
                seqs.append(update.seq)
            if update.done >= 5 and not killed:
                killed = True
                self.fleet.coordinator.kill()
                self.fleet.coordinator.wait()
                self.fleet.coordinator = self.fleet.start_coordinator()
        self.assertEqual(seqs, list(range(1, seqs[-1] + 1)), "no event is missing, none comes twice")
        self.assertEqual(job.refresh().state, "succeeded")

    def test_a_client_of_two_coordinators_follows_the_one_that_leads(self):
        stand_by = self.fleet.start_stand_by()
        servers = [self.fleet.stand_by_address, self.fleet.address]
        with merganser.Client(servers, token_file=self.fleet.dir / "token") as client:
            job = client.submit(self.job_file(candidates=60))
            seqs, killed = [], False
            for update in job.watch():
                if update.seq:
                    seqs.append(update.seq)
                if update.done >= 5 and not killed:
                    killed = True
                    self.fleet.coordinator.kill()
                    self.fleet.coordinator.wait()
            self.assertEqual(seqs, list(range(1, seqs[-1] + 1)), "no event is missing, none comes twice")
            self.assertEqual(job.wait(timeout=60).done, 60)
            self.assertIn(job.id, [j.id for j in client.jobs()], "asked of the one that leads now")
            self.fleet.coordinator = self.fleet.start_coordinator()
            stand_by.terminate()
            stand_by.wait()

            def found():
                try:
                    return bool(client.jobs())
                except merganser.Unavailable:
                    return False

            eventually(found)
            with self.assertRaises(merganser.PermissionDenied):
                merganser.Client(servers).jobs()

    def test_wait_outlives_a_coordinator_that_goes_away(self):
        job = self.client.submit(self.job_file(candidates=60))
        first = job.message
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waited = pool.submit(job.wait, timeout=300)
            eventually(lambda: job.message is not first)
            self.fleet.coordinator.kill()
            self.fleet.coordinator.wait()
            self.fleet.coordinator = self.fleet.start_coordinator()  # leads once the lease of the first is over
            self.assertEqual(waited.result().done, 60)

    def test_calls_beyond_the_clients_rate_wait_and_succeed(self):
        def restart(*flags):
            self.fleet.coordinator.kill()
            self.fleet.coordinator.wait()
            self.fleet.coordinator = self.fleet.start_coordinator(*flags)

            def leads():
                try:
                    return self.client.jobs() is not None
                except merganser.Unavailable:
                    return False

            eventually(leads)

        restart("--client-rate", "10")
        for _ in range(60):  # four seconds' worth come at once
            self.client.jobs()
        restart()

    def test_a_dict_is_a_job_too_and_the_same_request_makes_it_once(self):
        import yaml

        file = self.job_file()
        fields = yaml.safe_load(file.read_text())
        for model in fields["models"].values():
            model["path"] = str(EXAMPLE / model["path"])
        for section in ("benchmarks", "held_out"):
            for benchmark in fields[section].values():
                if "data" in benchmark:
                    benchmark["data"] = str(EXAMPLE / benchmark["data"])
        one = self.client.submit(fields, request_id="the-same")
        two = self.client.submit(fields, request_id="the-same")
        self.assertEqual(one.id, two.id)
        self.assertIn(one.id, [j.id for j in self.client.jobs()])
        self.assertTrue(one.pause().message.paused)
        self.assertFalse(one.resume().message.paused)
        updated = one.update(priority=3, candidates=500)
        self.assertEqual((updated.message.spec.priority, updated.message.spec.budget.candidates), (3, 500))
        one.pause()
        one.update(wall_time=0.001)
        self.assertIn("budget.wall_time of 1ms is reached", one.update(candidates=500).binding_budget)
        one.update(wall_time="1h30m")
        self.assertEqual(one.update(samples=1, candidates=500).binding_budget, "")
        with self.assertRaisesRegex(TypeError, "candidate"):
            one.update(candidate=500)
        updated = one.update(wall_time="1h30m", gpu_time="500h", attempt_timeout=90)
        self.assertEqual(updated.spec.budget.gpu_time.seconds, 1800000)
        self.assertEqual((updated.spec.budget.wall_time.seconds, updated.spec.attempt_timeout.seconds), (5400, 90))
        with self.assertRaisesRegex(merganser.InvalidJob, "wall_time: 'soon' is no duration"):
            one.update(wall_time="soon")
        self.assertEqual(one.cancel().state, "cancelled")
        with self.assertRaises(merganser.JobFailed) as caught:
            one.wait()
        self.assertIs(caught.exception.job, one)
        self.assertIsInstance(one.spec, job_pb2.JobSpec)

    def test_a_paused_job_stands_still_and_a_larger_budget_lets_a_finished_one_go_on(self):
        job = self.client.submit(self.job_file(candidates=200))
        for update in job.watch():
            if update.state == "search" and update.done >= 2:
                break
        job.pause()
        eventually(lambda: job.refresh().message.running == 0)
        done = job.done
        time.sleep(1)
        self.assertEqual(job.refresh().done, done, "what ran has finished, and nothing else began")
        self.assertTrue(job.message.paused)
        with self.assertRaisesRegex(merganser.InvalidJob, "budget.candidates: 1 is below the [0-9]+ that are proposed already"):
            job.update(candidates=1)
        job.update(candidates=60)
        job.resume()
        self.assertEqual(job.wait(timeout=300).done, 60)

        job.update(candidates=72)
        self.assertFalse(job.refresh().ended and job.done == 60, "it goes on")
        self.assertEqual(job.wait(timeout=300).done, 72)
        actions = [u.event.action_taken.kind for u in job.watch() if u.event and u.event.HasField("action_taken")]
        self.assertEqual([a for a in actions if a != "submitted"], ["paused", "updated", "resumed", "updated"])

    def test_errors_say_what_is_wrong(self):
        with self.assertRaisesRegex(merganser.NotFound, "job-999"):
            self.client.job("job-999")
        file = self.job_file()
        file.write_text(file.read_text().replace("optimizer:", "optimiser:"))
        with self.assertRaisesRegex(merganser.InvalidJob, r"job\.yaml: optimiser: no such field; there are .*optimizer"):
            self.client.submit(file)
        file = self.job_file()
        file.write_text(file.read_text().replace("bounds: {weight: [0, 2]}", "bounds: {weight: [2, 0]}"))
        with self.assertRaisesRegex(merganser.InvalidJob, "bounds"):
            self.client.validate(file)
        file.write_text(file.read_text().replace("wall_time: 1h30m", "wall_time: soon"))
        with self.assertRaisesRegex(merganser.InvalidJob, r"budget\.wall_time: 'soon' is no duration"):
            self.client.validate(file)
        file = self.job_file()
        file.write_text(file.read_text().replace("{path: ja}", "{path: ./jaa}"))
        with self.assertRaisesRegex(merganser.InvalidJob, r"models\.ja\.path: no directory '.*/jaa', and '\./jaa' is no Hub id"):
            self.client.submit(file)
        with self.assertRaisesRegex(merganser.Unavailable, "127.0.0.1:1"):
            merganser.Client("127.0.0.1:1", timeout=5).jobs()
        with self.assertRaisesRegex(merganser.PermissionDenied, "token"):
            merganser.Client(self.fleet.address).jobs()
        with self.assertRaises(merganser.PermissionDenied):
            self.client.drain("worker-1")  # needs an admin
        with self.assertRaises(merganser.PermissionDenied):
            self.client.quarantine("worker-1", "1h")
        with self.assertRaises(merganser.PermissionDenied):
            self.client.release("worker-1")
        for other in ("coordinator.example:50051", "127.example.org:50051"):
            with self.assertRaisesRegex(ValueError, "plain text"):
                merganser.Client(other, token="x" * 16)
        with self.assertRaises(TimeoutError):
            job = self.client.submit(self.job_file())
            try:
                job.wait(timeout=0.1)
            finally:
                job.cancel()

    def test_a_call_that_a_leaving_coordinator_cancels_is_one_that_it_did_not_answer(self):
        cancelled = grpc.RpcError()
        cancelled.code, cancelled.details = (lambda: grpc.StatusCode.CANCELLED), (lambda: "CANCELLED")
        self.assertIsInstance(merganser.errors.from_rpc(cancelled, "here:50051"), merganser.Unavailable)

    def test_this_machine_is_reached_without_the_environments_proxy(self):
        with unittest.mock.patch.dict(os.environ, {"http_proxy": "http://127.0.0.1:1"}):
            with merganser.Client(self.fleet.address, token_file=self.fleet.dir / "token") as client:
                self.assertIsInstance(client.jobs(), list)

    def test_the_example_runs(self):
        env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
        # The example takes no token: a way in without one.
        code = (ROOT / "client/python/examples/evolve.py").read_text().replace(
            "merganser.Client(server)", f"merganser.Client(server, token_file={str(self.fleet.dir / 'token')!r})")
        run = subprocess.run([sys.executable, "-c", code, self.fleet.address, str(self.job_file()), str(self.fleet.dir / "out")],
                             capture_output=True, text=True, env=env, cwd=ROOT, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr[-2000:])
        self.assertIn("generation 1:", run.stdout)
        self.assertIn("written to", run.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
