"""What a secret looks like in a text: private keys, tokens that begin as their issuer says, passwords in addresses.

Kinds and prefixes are facts that the issuers publish; most stand in gitleaks' rules (config/gitleaks.toml), too. A
random-looking text alone is no sign: checksums look like that. detect-secrets is no dependency, since its last release
(1.5.0, 2024) knows neither fine-grained GitHub tokens nor those of Hugging Face, Docker and Google.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of secret.

    Attributes:
        name: for the reader.
        pattern: the secret as a whole.
        marks: it begins with one of them; to look for those alone takes a hundredth of the pattern's time.
    """

    name: str
    pattern: re.Pattern[str]
    marks: tuple[str, ...]

    def is_in(self, text: str) -> bool:
        """Whether a text holds one."""
        return any(self.pattern.match(text, start) for mark in self.marks for start in _places(mark, text))


def _places(mark: str, text: str) -> Iterator[int]:
    start = text.find(mark)
    while start >= 0:
        yield start
        start = text.find(mark, start + 1)


def _token(name: str, pattern: str, *marks: str) -> Kind:
    """A token by its prefix; letters and digits beside it make it something else."""
    return Kind(name, re.compile(rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])", re.ASCII), marks)


def _setting(name: str, value: str, *keys: str) -> Kind:
    """A secret by the name of what it is assigned to."""
    return Kind(name, re.compile(rf"(?:{'|'.join(keys)})[\"']?\s*[=:]\s*[\"']?{value}", re.ASCII), keys)


_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<what>(?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?)-----(?:.*?-----END (?P=what)-----)?"
    r"|---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----(?:.*?---- END[^\n]*)?",
    re.DOTALL,
)

KINDS = (
    Kind("a private key", _PRIVATE_KEY, ("-----BEGIN ", "---- BEGIN SSH2 ")),
    Kind("a PuTTY private key", re.compile(r"PuTTY-User-Key-File-\d.*", re.DOTALL), ("PuTTY-User-Key-File-",)),
    _token("an age private key", r"AGE-SECRET-KEY-1[0-9A-Z]{40,}", "AGE-SECRET-KEY-1"),
    _token("an AWS access key", r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}", "AKIA", "ASIA", "ABIA", "ACCA"),
    _setting("an AWS secret key", "[A-Za-z0-9/+=]{40}", "secret_access_key", "SECRET_ACCESS_KEY", "SecretAccessKey"),
    _token("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{30,}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _token("a GitHub token", r"github_pat_\w{22,}", "github_pat_"),
    _token("a GitLab token", r"gl(?:pat|rt|cbt|ptt)-[\w.-]{20,}", "glpat-", "glrt-", "glcbt-", "glptt-"),
    _token("a GitLab token", r"gl(?:dt|ft|soat|agent)-[\w.-]{20,}", "gldt-", "glft-", "glsoat-", "glagent-"),
    _token("a Hugging Face token", r"hf_[A-Za-z0-9]{30,}", "hf_"),
    _token("an API key (sk-…)", r"sk-(?:(?:proj|svcacct|admin|ant-\w+|or-v\d)-[\w-]{20,}|[A-Za-z0-9]{20,})", "sk-"),
    _token("a Groq key", r"gsk_[A-Za-z0-9]{40,}", "gsk_"),
    _token("a Replicate token", r"r8_[A-Za-z0-9]{37}", "r8_"),
    _token("a Weights & Biases key", r"wandb_v1_\w{40,}", "wandb_v1_"),
    _token("a Stripe key", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}", "k_live_", "k_test_"),
    _token("a webhook's secret", r"whsec_[A-Za-z0-9+/=]{24,}", "whsec_"),
    _token("a Slack token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}", "xox", "xapp-"),
    _token("a Slack webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/+-]{30,}", "hooks.slack.com"),
    _token("a Google API key", r"AIza[\w-]{35}", "AIza"),
    _token("a Google client secret", r"GOCSPX-[\w-]{20,}", "GOCSPX-"),
    _token("a Google access token", r"ya29\.[\w-]{20,}", "ya29."),
    _token("an npm token", r"npm_[A-Za-z0-9]{30,}", "npm_"),
    _setting("an npm token", r"(?!\$)[^\s\"']{8,}", "_authToken"),
    _token("a PyPI token", r"pypi-[\w-]{40,}", "pypi-"),
    _token("a Docker token", r"dckr_[po]at_[\w-]{20,}", "dckr_"),
    _token("a SendGrid key", r"SG\.[\w-]{16,}\.[\w-]{16,}", "SG."),
    _token("a Databricks token", r"dapi[0-9a-f]{32}(?:-\d)?", "dapi"),
    _token("a DigitalOcean token", r"do[opr]_v1_[0-9a-f]{64}", "doo_v1_", "dop_v1_", "dor_v1_"),
    _token("a Vault token", r"hv[sbr]\.[\w-]{24,}", "hvs.", "hvb.", "hvr."),
    _token("a Grafana token", r"glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}", "glsa_"),
    _token("a JSON web token", r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}", "eyJ"),
    _setting("an Azure key", r"[A-Za-z0-9+/]{40,}={0,2}", "AccountKey", "SharedAccessKey"),
    _setting("a Kubernetes key", r"[A-Za-z0-9+/]{40,}={0,2}", "client-key-data"),
)

_ADDRESS = re.compile(r"(?i)://(?P<user>[^\s/:@\"'`<>]*):(?!\d{1,5}/)(?P<password>[^\s@\"'`<>]+)@[\w\[]")
_STAND_IN = re.compile(  # what documentation, templates and tests write where a password goes
    r"[A-Z_]+|\W+|(?i:.*\b(?:your|my)?[_-]?(?:pass(?:word|wd)?|pw|pwd|secret|token|changeme|example|user(?:name)?)\b.*)"
)
_TEMPLATE = re.compile(r"[{}$%<>()\\…]|\.\.\.|\*\*\*")


def kind_of_secret(text: str) -> str | None:
    """What secret a text holds, in words; None if none is found."""
    for kind in KINDS:
        if kind.is_in(text):
            return kind.name
    if "://" in text and any(map(_is_password, _ADDRESS.finditer(text))):
        return "a password in an address"
    return None


def _is_password(found: re.Match[str]) -> bool:
    """Whether an address is meant: `{password}`, PASSWORD or the user's name again stand in for one."""
    user, password = found["user"], found["password"]
    if password == user or _STAND_IN.fullmatch(password):
        return False
    return not _TEMPLATE.search(re.sub(r"%[0-9A-Fa-f]{2}", "", password))


def without_tokens(text: str) -> str:
    """The text with `***` in the place of every private key and token."""
    for kind in KINDS:
        if kind.is_in(text):
            text = kind.pattern.sub("***", text)
    return text
