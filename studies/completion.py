"""How shells ask what may come next: as click has it, but that our words hold `=`, commas and brackets.

bash takes a word apart at `=`, and puts what it is answered in the place of the last piece, as it is. fish is to show
what stands after a comma, too. zsh and fish put an answer in the place of the whole word, `--preset=sm`, so it is one,
`--preset=smoke`; and a path is to be completed behind the `=`.
"""

import os
import re

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value
    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_PIECE="${COMP_WORDS[COMP_CWORD]}" \\
%(complete_var)s=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        if [[ $type == 'dir' ]]; then
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            compopt -o default
        else
            COMPREPLY+=("$value")
        fi
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
_FISH = """\
function %(complete_func)s;
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \\
COMP_CWORD=(commandline -t) %(prog_name)s);
    for completion in $response;
        set -l metadata (string split --max 1 "," $completion);
        if test $metadata[1] = "dir";
            __fish_complete_directories $metadata[2];
        else if test $metadata[1] = "file";
            set -l option (string match --regex -- "^--[^=]+=" (commandline -ct));
            for path in (__fish_complete_path $metadata[2]);
                echo "$option$path";
            end;
        else;
            echo $metadata[2];
        end;
    end;
end;
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)";
"""
_ZSH = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local -a plain described response
    local type value about
    (( ! $+commands[%(prog_name)s] )) && return 1
    response=("${(@f)$(env COMP_WORDS="${(j: :)words}" COMP_CWORD=$((CURRENT-1)) \\
%(complete_var)s=zsh_complete %(prog_name)s)}")
    for type value about in $response; do
        if [[ $type == plain && $about == _ ]]; then
            plain+=("$value")
        elif [[ $type == plain ]]; then
            described+=("$value:$about")
        else
            compset -P '--[^=]##='
            [[ $type == dir ]] && _path_files -/ || _path_files -f
        fi
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#plain )) && compadd -U -V unsorted -a plain
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
_MEANT = re.compile(r"[^\w@%+=:,./~^-]")  # of these none means anything to bash


class _WholeWords(ShellComplete):
    """An option and its value in one word are completed as one."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        option, equals, value = incomplete.partition("=")
        if not equals or not option.startswith("--"):
            return super().get_completions(args, incomplete)
        found = super().get_completions([*args, option], value)
        for item in found:
            if item.type == "plain":
                item.value = f"{option}={item.value}"
        return found


class Bash(_WholeWords, BashComplete):
    """`COMP_LINE` is the line up to the cursor, `COMP_PIECE` what bash takes for the word there."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        _, *before, last = split_arg_string(os.environ["COMP_LINE"] + "x")  # a word where none is begun, too
        return before, last[:-1]

    def format_completion(self, item: CompletionItem) -> str:
        _, begun = self.get_completion_args()
        piece, value = os.environ["COMP_PIECE"], str(item.value)
        if item.type != "plain" or piece.startswith(("'", '"')) or not value.startswith(begun):
            return f"{item.type},{value}"
        kept = "" if piece in ("=", ":") else "".join(split_arg_string(piece))
        rest = value[len(begun) - len(kept) :] if begun.endswith(kept) else value
        quoted = _MEANT.sub(r"\\\g<0>", rest)
        return f"{item.type},{quoted}"


class Fish(_WholeWords, FishComplete):
    """With all of a word and its meaning."""

    source_template = _FISH


class Zsh(_WholeWords, ZshComplete):
    """With paths behind an option's `=`."""

    source_template = _ZSH


def register_shells() -> None:
    """Has click answer them so."""
    for shell in (Bash, Fish, Zsh):
        add_completion_class(shell)
