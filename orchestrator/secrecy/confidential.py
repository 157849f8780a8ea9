"""Which files of a working tree may not leave this machine: secret by name, or by what is in them.

Names are of the kinds that gitrob's signatures (filesignatures.json) list, and of what tools themselves write. Whatever
is left out is said, with the reason, and `--include` overrules.
"""

import codecs
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatch, fnmatchcase
from pathlib import Path, PurePosixPath

from orchestrator.errors import UserError
from orchestrator.secrecy.tokens import kind_of_secret

_FILES = (
    ".env*", "*.env", ".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", "pgpass.conf", ".pg_service.conf", ".my.cnf",
    ".mylogin.cnf", ".git-credentials", "*htpasswd", ".dockercfg", ".s3cfg", ".boto", ".databrickscfg", ".comet.config",
    "kaggle.json", "rclone.conf", "kubeconfig", "*.kubeconfig", ".terraformrc", "terraform.rc", "*.tfvars",
    "*.tfvars.json", "*.tfstate", ".vault*token", ".vault*pass*", "vault*pass*.txt", "token", ".token", "token.json",
    "token.txt", "token.pickle", "auth_token", "access_token", "*service[-_]account*.json", "*firebase-adminsdk*.json",
    "adc.json", ".*_history", "sftp-config.json", "wp-config.php", "secring.*", "otr.private_key",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*_rsa", "*_dsa", "*_ecdsa", "*_ed25519", "identity",
    "*.pem", "*.key", "*.keypair", "*.ppk", "*.p8", "*.p12", "*.pfx", "*.pkcs12", "*.jks", "*.keystore", "*.keyring",
    "*.keychain", "*.keytab", "*.kdb", "*.kdbx", "*.psafe3", "*.agilekeychain", "*.kwallet", "*.ovpn",
)  # fmt: skip
_PATHS = (".docker/config.json", ".m2/settings.xml", ".config/hub", ".config/gh/hosts.yml", "etc/shadow")
_FOLDERS = (
    ".env", ".aws", ".ssh", ".gnupg", ".kube", ".azure", ".oci", ".gcloud", ".vault", ".password-store", ".secrets",
    ".secret", ".credentials", ".snowflake",
)  # fmt: skip
_FOLDERS_OF_DATA = ("secrets", "secret", "credentials", "gcloud")  # may be a package's name, too
_WORDS = ("secrets", "credential", "password", "passwd", "passphrase", "apikey")  # anywhere in a name
_WORDS_APART = ("secret", "private_key", "private_keys", "api_key", "api_keys", "access_key", "access_keys")
_WHOLE_STEMS = frozenset({"secret", "secrets", "credential", "credentials", "passwords"})
_CODE = frozenset(
    {".py", ".pyi", ".pyx", ".js", ".ts", ".rs", ".go", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".java"}
)
_PROSE = frozenset({".md", ".rst", ".html", ".css", ".svg", ".png", ".jpg", ".tex", ".pdf"})
_EXAMPLES = (".example", ".examples", ".template", ".tmpl", ".sample", ".dist", ".defaults", ".j2", ".pub")
_COPIES = (".bak", ".backup", ".old", ".orig", ".save", ".swp", ".swo", ".tmp", ".copy", "~")
_BINARY_WITHIN = 8000  # bytes: a NUL among them makes a file binary, as for git


@dataclass(frozen=True)
class LeftOut:
    """A file that does not travel, relative to its root, and why; a folder stands for all that is below it."""

    file: Path
    reason: str

    @property
    def text(self) -> str:
        """`secret/.env (its name: .env*)`."""
        return f"{shown(self.file)} ({self.reason})"


@dataclass(frozen=True)
class Included:
    """Names and patterns, relative to the root, of what travels though it looks secret."""

    patterns: Sequence[str] = ()

    def holds(self, file: Path) -> bool:
        """Whether a file is meant: by its path, a pattern of it, or a folder above it."""
        name = file.as_posix()
        wanted = [os.path.normpath(pattern) for pattern in self.patterns]
        return any(name == each or fnmatchcase(name, each) or name.startswith(f"{each}/") for each in wanted)

    def check(self, files: Iterable[Path]) -> None:
        """Refuses a pattern that means none of the files.

        Raises:
            UserError: names the nearest file.
        """
        names = [file.as_posix() for file in files]
        for pattern in self.patterns:
            if not any(Included((pattern,)).holds(Path(name)) for name in names):
                near = get_close_matches(pattern, names, n=1, cutoff=0.4)
                hint = f"did you mean {shown(Path(near[0]))}?" if near else "give a path from the top of the tree"
                raise UserError(
                    f"--include {pattern}: no file of the tree that is sent is called so; {hint} (what .gitignore or "
                    ".rayignore names never travels)"
                )


NOTHING = Included()


def shown(file: Path) -> str:
    """A file's name on one line and in characters that can be printed, whatever it is made of."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in os.fsencode(file.as_posix()).decode(errors="backslashreplace")
    )


def has_part(file: Path, patterns: Iterable[str]) -> bool:
    """Whether the name of a file, or of a folder above it, is among the patterns."""
    return any(fnmatch(part, pattern) for pattern in patterns for part in file.parts)


def left_out_by_name(file: Path) -> LeftOut | None:
    """Why a file is secret by its path, relative to the root; None if it is not."""
    path = PurePosixPath(file.as_posix().lower())
    code = path.suffix in _CODE | _PROSE
    for depth, folder in enumerate(path.parts[:-1], 1):
        if (folder in _FOLDERS and path.suffix != ".pub") or (folder in _FOLDERS_OF_DATA and not code):
            return LeftOut(Path(*file.parts[:depth]), f"a folder called {folder}")
    name = path.name
    if name.endswith(_EXAMPLES):
        return None
    while name.endswith(_COPIES):
        name = name.removesuffix(next(end for end in _COPIES if name.endswith(end)))
    for pattern in _FILES:
        if fnmatchcase(name, pattern) and not (code and pattern.endswith("*")):
            return LeftOut(file, f"its name: {pattern}")
    for pattern in _PATHS:
        if f"/{path.with_name(name)}".endswith(f"/{pattern}"):
            return LeftOut(file, f"its name: {pattern}")
    stem, suffix = PurePosixPath(name).stem.lstrip("."), PurePosixPath(name).suffix
    if word := _telling_word(stem, suffix):
        return LeftOut(file, f"its name: {word}")
    return None


def _telling_word(stem: str, suffix: str) -> str | None:
    """The word by which a name says that it is secret; code and prose may be about secrets."""
    if suffix in _PROSE:
        return None
    if suffix in _CODE:
        return stem if stem in _WHOLE_STEMS else None
    apart = "_".join("".join(each if each.isalnum() else " " for each in stem).split())
    found = (word for word in _WORDS if word in stem)
    return next(found, None) or next((word for word in _WORDS_APART if f"_{word}_" in f"_{apart}_"), None)


def kind_in_content(content: bytes) -> str | None:
    """What secret a file's content holds; None if none is found or the file is binary.

    All of a text is looked at: what travels is at most `package.LIMIT`.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return kind_of_secret(content.decode("utf-16", errors="replace"))
    if b"\0" in content[:_BINARY_WITHIN]:
        return None
    return kind_of_secret(content.decode("latin-1"))  # a character for each byte; all kinds are of ASCII


def left_out(root: Path, file: Path) -> LeftOut | None:
    """Why a file may not leave this machine; None if it may.

    Raises:
        UserError: it cannot be read.
    """
    if by_name := left_out_by_name(file):
        return by_name
    try:
        kind = kind_in_content((root / file).read_bytes())
    except OSError as error:
        raise UserError(
            f"{shown(file)} cannot be read ({error.strerror or error}): make it readable, or name it in .rayignore"
        ) from error
    return None if kind is None else LeftOut(file, f"{kind} is in it")
