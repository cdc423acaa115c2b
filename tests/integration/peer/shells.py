"""What shells offer behind a line, by the completions of packaging/, loaded as an interactive shell loads them."""
import os
import pty
import shutil
import subprocess
import tempfile

from .agent import BIN, SOURCE

FILES = os.path.join(os.environ.get("ATH_SOURCE") or SOURCE, "packaging", "completions")

BASH = """
source "$FILES/ath"
COMP_LINE=$LINE COMP_POINT=${#LINE}
read -ra COMP_WORDS <<< "$LINE"
[[ $LINE != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { files=$(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"); } # -o default, where nothing else is offered
_ath 2>> "$DIR/errors"
printf '%s\\n' "${COMPREPLY[@]}" "$files"
"""

# A line editor is needed: the first line that is read is the one to be completed.
ZSHRC = """
fpath=("$FILES" $fpath)
autoload -Uz compinit && compinit -u -d "$DIR/zcompdump"
compadd() {
    local -a offered
    builtin compadd -O offered "$@" 2>> "$DIR/errors"
    print -rl -- $offered >> "$DIR/offered"
    builtin compadd "$@"
}
zle -C offer complete-word _main_complete
zle-line-init() {
    BUFFER=$LINE CURSOR=$#LINE
    zle offer 2>> "$DIR/errors"
    print -r -- "$_comps[ath]" >> "$DIR/by"
    BUFFER=exit
    zle .accept-line
}
zle -N zle-line-init
"""

FISH = """
set -p fish_complete_path "$FILES"
complete -C "$LINE" 2>> "$DIR/errors" | string replace -r '\\t.*' ''
"""


class Shells:
    """offered("zsh", "ath key ") is a set of words."""

    def __init__(self, socket):
        self.dir = tempfile.mkdtemp(prefix="shells-")
        self.environment = {"PATH": BIN + ":/usr/bin:/bin", "HOME": self.dir, "ZDOTDIR": self.dir, "TERM": "dumb",
                            "LC_ALL": "C.UTF-8", "ATH_AUTH_SOCK": socket, "FILES": FILES, "DIR": self.dir,
                            "XDG_CONFIG_HOME": self.dir, "XDG_DATA_HOME": self.dir}
        with open(os.path.join(self.dir, ".zshrc"), "w", encoding="utf-8") as file:
            file.write(ZSHRC)

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def note(self, name):
        try:
            with open(os.path.join(self.dir, name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def run(self, arguments, line, stdin=subprocess.DEVNULL, **more):
        return subprocess.run(arguments, env={**self.environment, "LINE": line}, stdin=stdin, cwd=self.dir, timeout=120,
                              check=False, **more)

    def zsh(self, line):
        for name in ("offered", "by"):
            if os.path.exists(os.path.join(self.dir, name)):
                os.unlink(os.path.join(self.dir, name))
        master, slave = pty.openpty()
        try:
            self.run(["zsh", "-d", "-i"], line, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        finally:
            os.close(slave)
            os.close(master)
        if self.note("by").strip() != "_ath":
            raise AssertionError("zsh did not load _ath: " + self.note("errors"))
        return self.note("offered")

    def offered(self, shell, line):
        if shell == "zsh":
            text = self.zsh(line)
        elif shell == "bash":
            text = self.run(["bash", "--norc", "-c", BASH], line, stdout=subprocess.PIPE, text=True).stdout
        else:
            text = self.run(["fish", "-c", FISH], line, stdout=subprocess.PIPE, text=True).stdout
        if self.note("errors"):
            raise AssertionError(f"{shell}, {line!r}: {self.note('errors')}")
        return {word for word in text.splitlines() if word}
