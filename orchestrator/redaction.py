"""Addresses as they may be shown, logged and sent: without their passwords."""

import re

_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s]*@")


def without_passwords(text: str) -> str:
    """The text with `***` in the place of every password in an address."""
    return _PASSWORD.sub(r"\1:***@", text)


def has_password(text: str) -> bool:
    """Whether an address in it carries one."""
    return _PASSWORD.search(text) is not None
