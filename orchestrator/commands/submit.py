"""The command that hands a study to a cluster's job server."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from orchestrator.commands.console import plain_console
from orchestrator.commands.options import Options
from orchestrator.errors import UserError
from orchestrator.secrecy.confidential import Included
from orchestrator.study.plan import Plan
from orchestrator.submit.submission import Submission, submit
from orchestrator.trainer import Trainer

_NOT_PASSED_ON = frozenset({"address", "no_wait", "pip", "include"})  # or not as they are


def parse_submission(parameters: Mapping[str, Any]) -> Submission:
    """What to submit: `run` with the options that the command line has, but for those of submit itself.

    Raises:
        UserError: no job server, or a storage that is not the same place on every node.
    """
    if parameters["address"] is None:
        raise UserError("submit: give the cluster's job server, --address http://HEAD:8265")
    context = click.get_current_context()
    if not Path(parameters["storage"]).is_absolute():
        raise UserError("submit: give --storage as an absolute path that every node of the cluster sees")
    arguments = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) != ParameterSource.COMMANDLINE or name in _NOT_PASSED_ON:
            continue
        value, flag = context.params[name], parameter.opts[0]
        if value is True:
            arguments.append(flag)
        else:
            arguments += [
                text for each in (value if isinstance(value, tuple) else (value,)) for text in (flag, str(each))
            ]
    return Submission(
        address=parameters["address"],
        script=Path(sys.argv[0]).resolve(),
        arguments=arguments,
        storage=Path(parameters["storage"]),
        tracking_uri=parameters["tracking_uri"] or "",
        wait=not parameters["no_wait"],
        pip=parameters["pip"],
        included=Included(parameters["include"]),
    )


def submit_study(plan: Plan, trainer: Trainer, options: Options, submission: Submission) -> int:
    """Submits the study; gives its exit status."""
    return submit(plan, submission, plain_console())
