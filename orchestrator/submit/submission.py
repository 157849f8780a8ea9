"""Hands a study to a cluster's job server: the tree goes there, logs come back, the exit status is the study's.

The job's id is made of what is studied and where it is kept, so that submitting the same again attaches to it.
"""

import asyncio
import logging
import os
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from rich.console import Console

from orchestrator.errors import UserError, reason
from orchestrator.secrecy.confidential import Included
from orchestrator.secrecy.redaction import has_password, secrets_of, shown_address, without_passwords
from orchestrator.study.identity import fingerprint
from orchestrator.study.plan import Plan
from orchestrator.submit.package import ignored_by_ray, package
from orchestrator.track.provenance import commit, diff

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_REACH_SECONDS, _ATTEMPTS = 5, 1000
_RECONNECTS = 20


@dataclass(frozen=True)
class Submission:
    """A study as it is handed to a job server.

    Attributes:
        address: of the job server, http://HEAD:8265.
        arguments: of `run` on the cluster.
        wait: whether to stay and show the logs.
        pip: whether nodes install what the project depends on.
        included: what travels though it looks secret.
    """

    address: str
    script: Path
    arguments: Sequence[str]
    storage: Path
    tracking_uri: str
    wait: bool
    pip: bool
    included: Included


def submit(plan: Plan, submission: Submission, console: Console) -> int:
    """Submits the study, or attaches to it where it runs already; gives its exit status, 0 if not waited for.

    Raises:
        UserError: no job server there; a secret on the command line; a tree that is too large.
    """
    if has_password(submission.tracking_uri) or secrets_of(submission.tracking_uri):
        raise UserError(
            "submit: --tracking-uri holds a password, which the cluster would show; set MLFLOW_TRACKING_URI, or "
            "MLFLOW_TRACKING_USERNAME and _PASSWORD, in the environment of the cluster's head"
        )
    for argument in submission.arguments:
        if has_password(argument):
            raise UserError(
                f"submit: {without_passwords(argument)} holds a secret, which the cluster would show; set it in the "
                "environment of the cluster's head"
            )
    client = _client(submission.address)
    keys = [trial.key for trial in plan.trials]
    digest = fingerprint(trials=keys, storage=str(submission.storage), tracker=submission.tracking_uri)
    name = f"{plan.study.name}-{digest[:16]}"
    jobs = {job.submission_id: job for job in client.list_jobs()}
    running = [job for job in jobs.values() if _is_attempt(job.submission_id, name) and not job.status.is_terminal()]
    if running:
        identifier = str(running[0].submission_id)
        console.print(f"This study runs there already, as {identifier}.", markup=False)
    else:
        free = (name if not n else f"{name}-{n}" for n in range(_ATTEMPTS))
        identifier = next(candidate for candidate in free if candidate not in jobs)
        _send(client, plan, submission, identifier, console)
    if not submission.wait:
        console.print(f"Its log and its end: the same command without --no-wait, or ray job logs {identifier}")
        return 0
    try:
        asyncio.run(_show(client, identifier))
    except KeyboardInterrupt:
        console.print(
            f"\nDetached; it goes on as {identifier}. The same command attaches again, `ray job stop --address "
            f"{submission.address} {identifier}` ends it."
        )
        return 130
    return _exit_status(client, identifier, console)


def _is_attempt(identifier: str | None, name: str) -> bool:
    head, _, number = (identifier or "").removeprefix(name).partition("-")
    return bool(identifier) and str(identifier).startswith(name) and not head and (not number or number.isdigit())


def _client(address: str) -> "JobSubmissionClient":
    where, shown = urlparse(address), shown_address(address)
    try:
        host, port = where.hostname, where.port or 8265
    except ValueError:
        host = None  # its port is none
    if where.scheme not in ("http", "https") or not host or where.username is not None:
        hint = "; a token belongs in the environment, RAY_AUTH_TOKEN" if where.username is not None else ""
        raise UserError(f"submit --address {shown}: give the job server, http://HEAD:8265{hint}")
    try:
        socket.create_connection((host, port), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no job server answers at {shown}: {reason(error)}") from error
    try:
        from ray.job_submission import JobSubmissionClient

        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)  # what is sent is ours to say
        return JobSubmissionClient(address)
    except (ImportError, ModuleNotFoundError) as error:
        raise UserError(
            f"submit needs the extra [cluster]: pip install 'sortednet-studies[cluster]' ({error})"
        ) from error
    except Exception as error:  # Ray raises what its HTTP client does
        why = reason(error)
        if "authentication" in why.lower() and "RAY_AUTH_MODE" not in os.environ:
            why += "; set RAY_AUTH_MODE=token, with the token in RAY_AUTH_TOKEN or ~/.ray/auth_token"
        raise UserError(f"the job server at {shown} cannot be used: {why}") from error


def _send(client: "JobSubmissionClient", plan: Plan, submission: Submission, identifier: str, console: Console) -> None:
    tree = package(submission.script, submission.storage, submission.included)
    script, ignored = submission.script.relative_to(tree.root), ignored_by_ray(tree.root)
    if script not in tree.files:
        raise UserError(f"submit: {script}, the study, would not travel: .gitignore or .rayignore names it")
    origin = commit(submission.script.parent, submission.included, ignored)
    console.print(f"Sending the working tree ({tree.text}) to {submission.address}", markup=False)
    with tree.copied(origin, diff(submission.script.parent, submission.included, ignored)) as folder:
        environment: dict[str, object] = {"working_dir": str(folder)}
        if submission.pip:
            environment["pip"] = tree.requirements()
        client.submit_job(
            entrypoint=shlex.join(["python", str(script), "run", *submission.arguments, "--address", "auto"]),
            submission_id=identifier,
            runtime_env=environment,
            metadata={"study": plan.study.name, "preset": plan.preset, "base": plan.base_key[:16]} | origin,
        )
    console.print(f"Submitted as {identifier}: {len(plan.trials)} trials, those that are missing will run.")


async def _show(client: "JobSubmissionClient", identifier: str) -> None:
    """Prints the log as it comes; a connection that breaks is made again, and nothing is shown twice."""
    shown = 0
    for _ in range(_RECONNECTS):
        seen = 0
        try:
            async for text in client.tail_job_logs(identifier):
                fresh = text[max(0, shown - seen) :]
                seen += len(text)
                if fresh:
                    sys.stdout.write(without_passwords(fresh))
                    sys.stdout.flush()
                    shown += len(fresh)
        except (RuntimeError, OSError):
            await asyncio.sleep(1)
        if client.get_job_status(identifier).is_terminal():
            return


def _exit_status(client: "JobSubmissionClient", identifier: str, console: Console) -> int:
    info = client.get_job_info(identifier)
    if info.status == "SUCCEEDED":
        return 0
    if info.status == "STOPPED":
        console.print(f"{identifier} was stopped; submit it again to go on.")
        return 130
    if not info.driver_exit_code or info.driver_exit_code < 0:  # it never ran, or was killed
        console.print(f"{identifier} failed: {without_passwords(info.message or '')}", markup=False)
        return 1
    return int(info.driver_exit_code)
