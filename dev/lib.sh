# shellcheck shell=bash disable=SC2034,SC2154
# Functions that the scripts beside this file share; they source it, nobody runs it.
# Messages, Debian packages, and processes that never outlive the script that started them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf 'natter: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# need COMMAND:PACKAGE…: installs the Debian packages of the commands that are not there.
need() {
  local pair missing=()
  for pair; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  [[ ${#missing[@]} == 0 ]] || packages "${missing[@]}"
}

# packages NAME…: installs Debian packages, or says what somebody else has to install.
packages() {
  if [[ $EUID != 0 ]] || ! command -v apt-get >/dev/null; then
    die "missing on this machine: $* (Debian's names); install them, or run this once as root"
  fi
  say "installing $*"
  local log
  log=$(mktemp)
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes \
    --no-install-recommends "$@"; } </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "could not install $*"
  fi
  rm -f "$log"
}

# taken HOST:PORT: whether somebody listens there.
taken() {
  local host=${1%:*}
  host=${host#[}
  (exec 3<>"/dev/tcp/${host%]}/${1##*:}") 2>/dev/null
}

# A port that nobody listens on, below those that the kernel hands to clients.
free_port() {
  local port
  while
    port=$((20000 + RANDOM % 12000))
    taken "127.0.0.1:$port"
  do :; done
  echo "$port"
}

# ---- Processes. The caller sets `state`, a directory for their pid files and logs, and `orphaned`,
# ---- the signal that they get when the script is killed and cannot stop them itself.

# start NAME COMMAND…: runs it in a session of its own, so that Ctrl-C reaches only the script,
# which then stops things in their order. File descriptor 9 is the script's lock.
start() {
  local name=$1
  shift
  setsid setpriv --pdeathsig "$orphaned" "$@" 9>&- &
  echo "$! $(birth $!)" >"$state/$name.pid"
}

# attend NAME COMMAND…: starts it and waits for it; a signal to the script need not wait.
attend() {
  start "$@"
  wait $!
}

# stop NAME [SIGNAL]: ends it with all that it started, by force after 40 s (natter drains for 30 s).
stop() {
  local pid tries=400
  pid=$(pid_of "$1") || return 0
  kill -s "${2:-TERM}" -- "-$pid" 2>/dev/null || true
  while pid_of "$1" >/dev/null; do
    ((tries-- > 0)) || kill -KILL -- "-$pid" || true
    sleep 0.1
  done 2>/dev/null
  # Takes the shell's own report ("Killed") off it.
  wait "$pid" 2>/dev/null || true
  rm -f "$state/$1.pid"
}

# pid_of NAME: its process id, if the process of that pid file still runs. The time of birth tells
# it from a later process that got the same number.
pid_of() {
  local pid born
  { read -r pid born <"$state/$1.pid"; } 2>/dev/null || return 1
  [[ -n $born && $(birth "$pid") == "$born" ]] && echo "$pid"
}

# birth PID: when it started, in clock ticks since boot; nothing if it has ended.
birth() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  # The fields after the command's name in parentheses, which may hold spaces: state, …, start time.
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [[ $1 == Z ]] || echo "${20}"
}
