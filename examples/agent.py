#!/usr/bin/env python3
"""An Understudy executor on Python's standard library: runs a command for each job, one at a time.

usage: agent.py COMMAND [ARG...]    with these variables:
  UNDERSTUDY_URLS         every replica, or the balancer before them: http://a:4600,http://b:4600
  UNDERSTUDY_TOKEN        a token of role executor
  UNDERSTUDY_EXECUTOR_ID  stable across restarts of one place; default: the host name
  UNDERSTUDY_QUEUES       the queues to serve: a,b; default: default
  UNDERSTUDY_GRACE        seconds from SIGTERM to SIGKILL where a command must stop; default: 10

The command gets the payload as JSON on stdin, and the job in UNDERSTUDY_JOB_ID, _FENCE, _ATTEMPT,
_QUEUE, _KIND and, if an earlier attempt told of its progress, _CHECKPOINT; its trace in TRACEPARENT.
Exit code 0: the last line of its stdout is the result, if it is JSON. Any other: the attempt failed,
with that line as its error if it is {"code": ..., "message": ..., "retryable": ...}.

SIGTERM or SIGINT: take no new work, finish what is held. Once more: stop it and give it back.
A refusal (a newer process has this id, a bad token) ends it: 1. See docs/executor-protocol.md.
"""
import http.client, itertools, json, os, random, shutil, signal, socket, subprocess, sys, tempfile
from threading import Event, Thread
from time import monotonic, sleep
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

GRACE = float(os.environ.get("UNDERSTUDY_GRACE", "10"))
REFUSED = {"code": "report_refused", "retryable": False}
POLL_MS = 5000  # short: a poll that waits is never hung up, since it may just be bringing work


def parsed(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None  # the token would follow


opener = build_opener(NoRedirect)


def fetch(request, seconds):
    """Status and body. No answer, half of one or none of a replica is 0 or has no body."""
    try:
        try:
            answer = opener.open(request, timeout=seconds)
        except HTTPError as error:
            answer = error
        with answer:
            body = parsed(answer.read())
            return answer.code, body if isinstance(body, dict) else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"{request.full_url}: {error}", file=sys.stderr)
        return 0, {}


class Job:
    """One assignment while it is held. `reason`: why it is to stop."""

    def __init__(self, assignment, reason):
        self.a, self.reason, self.process, self.over = assignment, reason, None, False
        self.lease = {"job_id": assignment["job_id"], "fence": assignment["fence"]}

    def stop(self, reason):
        if self.reason is None:
            self.reason = reason
            print(f"{self.a['job_id']} is to stop: {reason}", file=sys.stderr)
            Thread(target=self.kill, daemon=True).start()

    def kill(self):
        self.send(signal.SIGTERM)
        sleep(GRACE)
        self.send(signal.SIGKILL)

    def send(self, number):
        """Whether there was somebody to get it."""
        try:
            if self.process and not self.over:
                os.killpg(self.process.pid, number)
                return True
        except OSError:  # nothing of the group is left
            pass
        return False

    def run(self, command):
        """Runs the command, in a process group of its own: its exit code and last line."""
        env, limit_ms = {**os.environ, "UNDERSTUDY_TOKEN": ""}, self.a["run_timeout_ms"]
        for key in ("job_id", "fence", "attempt", "queue", "kind"):
            env[f"UNDERSTUDY_{key.upper()}"] = str(self.a[key])
        if self.a["checkpoint"] is not None:
            env["UNDERSTUDY_CHECKPOINT"] = json.dumps(self.a["checkpoint"])
        env["TRACEPARENT"] = self.a.get("traceparent") or ""
        with tempfile.TemporaryFile() as out:
            group = {"start_new_session": True, "stdin": subprocess.PIPE, "stdout": out}
            try:
                self.process = subprocess.Popen(command, env=env, **group)
            except OSError as error:  # no #! line, say
                return None, json.dumps({"code": "spawn_failed", "message": str(error)})
            try:
                payload = json.dumps(self.a["payload"]).encode()
                self.process.communicate(payload, limit_ms and limit_ms / 1000)
            except subprocess.TimeoutExpired:
                self.stop("run_timeout")
            code = self.process.wait()
            if self.reason:  # what it started has its grace too, but must not go on beside the next
                until = monotonic() + GRACE
                while self.send(0) and monotonic() < until:
                    sleep(0.05)
                self.send(signal.SIGKILL)
            self.over = True
            out.seek(0)
            return code, (out.read().splitlines() or [b""])[-1]

    def report(self, code, last):
        """What to report of a command that has ended. None: nothing, the job is no longer ours."""
        value, error = parsed(last), {"code": "exit_code", "message": f"exit code {code}"}
        if code == 0:
            return {**self.lease, "outcome": "succeeded", "result": value}
        if self.reason == "run_timeout":
            error = {"code": "run_timeout", "message": "ran longer than run_timeout_ms"}
        elif self.reason:
            outcome = {"revoked": None, "cancelled": "cancelled"}.get(self.reason, "released")
            return outcome and {**self.lease, "outcome": outcome}
        elif isinstance(value, dict) and isinstance(value.get("code"), str):
            error = {"code": value["code"][:128], "message": str(value.get("message", ""))[:4000]}
            error["retryable"] = value.get("retryable") is not False
        return {**self.lease, "outcome": "failed", "error": error}


class Agent:
    def __init__(self, urls, token, executor_id, command):
        self.urls, self.at = urls, 0  # at: the replica that served last
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.id, self.command, self.job = executor_id, command, None
        self.leaving, self.draining, self.beat_now, self.seqs = False, False, Event(), itertools.count()

    def ask(self, call, make_body, seconds=2):
        """The answer of whichever replica serves, however long it takes; the body is made anew for
        each try. A refusal (4xx) is final, and ends the thread that asked. What has no code was
        said by some proxy, and is no refusal."""
        tried = 0
        while True:
            at, body = self.at, json.dumps(make_body()).encode()
            request = Request(f"{self.urls[at]}/v1/executors/{call}", body, self.headers)
            status, answer = fetch(request, seconds)
            if 200 <= status < 300 and answer:
                return answer
            if status == 413 or 400 <= status < 500 and status not in (408, 429) and "code" in answer:
                print(f"refused: {answer.get('detail', status)}", file=sys.stderr)
                sys.exit(1)
            if answer.get("code") != "controller_recovering":  # that one is about to serve: stay
                tried += 1
                if self.at == at:  # else the other thread has moved on already
                    self.at = (at + 1) % len(self.urls)
                if tried % len(self.urls) != 0:
                    continue
            pause = answer.get("retry_after_ms")
            if not isinstance(pause, int):
                pause = random.random() * min(5000, 200 * 2 ** min(tried // len(self.urls), 5))
            sleep(min(max(pause, 20), 5000) / 1000)

    def work(self, queues):
        ask = self.unless_leaving
        registered = self.ask("register", lambda: ask({"executor_id": self.id, "queues": queues}))
        self.epoch, self.self_fence = registered["epoch"], registered["self_fence_ms"] / 1000
        print(f"{self.id} registered, epoch {self.epoch}", file=sys.stderr)
        Thread(target=self.beat, daemon=True).start()
        poll = {"epoch": self.epoch, "wait_ms": POLL_MS}
        for number in itertools.count():  # one poll_id until there is an answer, then the next
            poll["poll_id"] = str(number)
            answer = self.ask(f"{self.id}/poll", lambda: ask(poll), POLL_MS / 1000 + 2)
            for assignment in answer["assignments"]:
                self.run(Job(assignment, "shutdown" if self.leaving else None))

    def run(self, job):
        print(f"{job.a['job_id']} started, fence {job.a['fence']}", file=sys.stderr)
        self.job = job
        self.beat_now.set()  # shows at once that the job has arrived
        item = job.report(*((None, b"") if job.reason else job.run(self.command)))
        if item:
            body = {"epoch": self.epoch, "reports": [item]}
            try:
                [result] = self.ask(f"{self.id}/report", lambda: body)["results"]
            except SystemExit:  # for what it says, its size perhaps; or for who says it
                body["reports"] = [{**job.lease, "outcome": "failed", "error": REFUSED}]
                [result] = self.ask(f"{self.id}/report", lambda: body)["results"]
            why = result.get("reason", result["status"])
            print(f"{job.a['job_id']} {body['reports'][0]['outcome']}: {why}", file=sys.stderr)
        self.job = None

    def beat(self):
        """Until refused: then the job is stopped, and its report or the next poll is refused."""
        self.heard_at = monotonic()
        try:
            while True:
                self.beat_now.clear()
                answer = self.ask(f"{self.id}/heartbeat", self.inventory)
                self.heard_at, self.draining, job = self.sent_at, answer["drain"], self.job
                for name, reason in (("revoked", "revoked"), ("cancel", "cancelled")):
                    if job and any(job.lease.items() <= lease.items() for lease in answer[name]):
                        job.stop(reason)
                self.beat_now.wait(answer["heartbeat_ms"] / 1000)
        finally:
            if self.job:
                self.job.stop("revoked")

    def inventory(self):
        self.sent_at, job = monotonic(), self.job
        if self.sent_at - self.heard_at > self.self_fence:
            if job and job.a["on_silence"] == "abort":
                job.stop("silence")
        beat = {"epoch": self.epoch, "seq": next(self.seqs)}
        return {**beat, "assignments": [job.lease] if job else []}

    def unless_leaving(self, body):
        while self.draining and not self.leaving:
            sleep(1)
        return sys.exit(0) if self.leaving else body

    def leave(self, *_):
        os.write(2, b"taking no new work\n")  # not print: this interrupts it anywhere
        if self.leaving and self.job:
            self.job.stop("shutdown")
        self.leaving = True


if __name__ == "__main__":
    command, env = sys.argv[1:], os.environ.get
    if command[:1] in (["-h"], ["--help"]):
        sys.exit(print(__doc__))
    urls = [url.strip().rstrip("/") for url in env("UNDERSTUDY_URLS", "").split(",")]
    token = env("UNDERSTUDY_TOKEN", "").strip()
    name = env("UNDERSTUDY_EXECUTOR_ID") or socket.gethostname()
    if not (urls[0] and token and command and shutil.which(command[0])):
        sys.exit("agent.py: UNDERSTUDY_URLS, UNDERSTUDY_TOKEN and a command are needed; see --help")
    agent = Agent(urls, token, name, command)
    signal.signal(signal.SIGTERM, agent.leave)
    signal.signal(signal.SIGINT, agent.leave)
    agent.work((env("UNDERSTUDY_QUEUES") or "default").split(","))
