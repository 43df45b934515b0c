#!/bin/sh
# The nightly pipeline, for cron: one run at a time, within a time limit, logged, with a heartbeat.
#
#   run_zenml_pipeline.sh [--strict] [OPTION ...]    the OPTIONs go to pipelines/ml_pipeline.py
#
#   --strict   exit 75 instead of 0 when another run is still going
#
# Reads .env; a variable of the environment wins over it. Beside the settings of PokeWatch:
#   POKEWATCH_TIME_LIMIT      seconds, or a number with s, m, h or d; default 2h
#   POKEWATCH_HEARTBEAT_URL   gets URL/start, then URL or URL/fail (as healthchecks.io has it)
# Logs: logs/nightly-DATE.log in the data home (UTC), the last 30 nights.
# Exit: 0 done, 1 failed, 2 usage, 3 a gate said no, 75 (--strict) another run is going.

set -u
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin
export PATH

usage() { sed -n '1d; /^$/q; s/^# \{0,1\}//p' "$self"; }
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

self=$0
while [ -L "$self" ]; do
  target=$(readlink "$self")
  case $target in
    /*) self=$target ;;
    *) self=$(dirname "$self")/$target ;;
  esac
done
if ! project=$(CDPATH='' cd -- "$(dirname -- "$self")/.." && pwd -P); then
  echo "$(now) failed with exit 1: no project around $0" >&2
  exit 1
fi

strict=
for argument; do
  shift
  case $argument in
    --strict) strict=1 ;;
    -h | --help) usage && exit 0 ;;
    *) set -- "$@" "$argument" ;;
  esac
done

cd "$project" || exit 1
python=$project/.venv/bin/python

# -- .env ----------------------------------------------------------------------
# Read as the settings read it, never executed. Values with an escape, a ${…} or an open quote are
# left to the settings, which are asked for those that this script needs itself.

trimmed() { # into $text, without blanks around it
  text=$1
  text=${text#"${text%%[![:space:]]*}"}
  text=${text%"${text##*[![:space:]]}"}
}

read_env() {
  from_file=' ' unclear= bom=$(printf '\357\273\277')
  given=" ${POKEWATCH_HOME+POKEWATCH_HOME} ${POKEWATCH_TIME_LIMIT+POKEWATCH_TIME_LIMIT} \
${POKEWATCH_HEARTBEAT_URL+POKEWATCH_HEARTBEAT_URL} "
  while IFS= read -r text || [ -n "$text" ]; do
    trimmed "${text#"$bom"}"
    case $text in
      '#'*) continue ;;
      export[[:space:]]*=*) trimmed "${text#export}" ;;
      *=*) ;;
      *) continue ;;
    esac
    value=${text#*=}
    trimmed "${text%%=*}"
    key=$text
    case $key in \'*\') key=${key#\'} key=${key%\'} ;; esac
    case $key in [Pp][Oo][Kk][Ee][Ww]*) key=$(printf %s "$key" | tr '[:lower:]' '[:upper:]') ;; esac
    case $key in '' | [0-9]* | *[!A-Za-z0-9_]*) continue ;; esac
    trimmed "$value"
    case $text in
      \'*\'*) tail=${text#\'} quote="'" ;;
      \"*\"*) tail=${text#\"} quote='"' ;;
      \'* | \"*) unclear=1 && continue ;;
      *) tail=$text quote= ;;
    esac
    if [ -n "$quote" ]; then
      value=${tail%%"$quote"*}
      trimmed "${tail#*"$quote"}"
      case $text in '' | '#'*) ;; *) unclear=1 && continue ;; esac
      case $value in *\\*) unclear=1 && continue ;; esac
    else
      trimmed "${tail%%[[:space:]]#*}"
      value=$text
    fi
    # shellcheck disable=SC2016
    case $value in *'${'*) unclear=1 && continue ;; esac
    if eval "[ -n \"\${$key+set}\" ]"; then
      case $from_file in *" $key "*) ;; *) continue ;; esac
    fi
    from_file="$from_file$key "
    export "$key=$value"
  done <<END
$(tr '\r' '\n' <"$project/.env")
END
  [ -n "$unclear" ] || return 0
  for key in POKEWATCH_HOME POKEWATCH_TIME_LIMIT POKEWATCH_HEARTBEAT_URL; do
    case $given in *" $key "*) continue ;; esac
    value=$("$python" -c 'import sys, dotenv
values = {name.upper(): value for name, value in dotenv.dotenv_values(".env").items()}
print(values.get(sys.argv[1]) or "")' "$key" 2>/dev/null) || continue
    export "$key=$value"
  done
}
[ ! -r "$project/.env" ] || read_env

# -- Home, logs and what says how it went -----------------------------------------

[ -n "${HOME:-}" ] || HOME=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6)
home=${POKEWATCH_HOME:-data}
case $home in
  /*) ;;
  \~) home=$HOME ;;
  \~/*) home=$HOME/${home#\~/} ;;
  \~*)
    user=${home%%/*} user=${user#\~}
    home=$(getent passwd "$user" | cut -d: -f6)${home#"~$user"} ;;
  *) home=$project/$home ;;
esac
POKEWATCH_HOME=$home
[ -d "$HOME" ] || HOME=$home
# As in the Makefile: kernels leave nothing in the user's home folder.
: "${IPYTHONDIR:=$project/.venv/var/ipython}"
: "${JUPYTER_RUNTIME_DIR:=$project/.venv/var/jupyter}"
: "${MPLCONFIGDIR:=$project/.venv/var/matplotlib}"
export HOME POKEWATCH_HOME IPYTHONDIR JUPYTER_RUNTIME_DIR MPLCONFIGDIR
export PYTHONUNBUFFERED=1

logs=$home/logs
log=

say() { # on stdout and in the log, once there is one
  line="$(now) $*"
  printf '%s\n' "$line"
  [ -z "$log" ] || printf '%s\n' "$line" >>"$log"
}

heartbeat() {
  url=${POKEWATCH_HEARTBEAT_URL:-}
  [ -n "$url" ] || return 0
  # The address is a key: neither an argument, which ps shows, nor printed.
  if [ -x "$python" ]; then
    HEARTBEAT=${url%/}$1 timeout 30 "$python" -c 'import os, httpx
httpx.get(os.environ["HEARTBEAT"], timeout=10, follow_redirects=True).raise_for_status()'
  else
    printf 'url = "%s"\n' "${url%/}$1" | timeout 30 curl -fsSL -m 10 -o /dev/null -K -
  fi >/dev/null 2>&1 9>&- || say "heartbeat${1:+ ${1#/}} not delivered; the run does not depend on it"
}

finish() { # exit code, message
  if [ "$1" -eq 0 ]; then
    heartbeat ''
    say "$2"
  else
    heartbeat /fail
    say "failed with exit $1: $2" >&2
  fi
  exit "$1"
}

for program in flock timeout; do
  command -v "$program" >/dev/null || finish 1 "$program is not installed (util-linux, coreutils)"
done
limit=${POKEWATCH_TIME_LIMIT:-2h}
number=${limit%[smhd]}
case $number in
  '' | 0* | *[!0-9]* | ????????*)
    finish 2 "POKEWATCH_TIME_LIMIT=$limit: a number of seconds, or one with s, m, h or d" ;;
esac
case $limit in
  *m) seconds=$((number * 60)) ;;
  *h) seconds=$((number * 3600)) ;;
  *d) seconds=$((number * 86400)) ;;
  *) seconds=$number limit=${number}s ;;
esac
{ mkdir -p -m 700 "$home" && mkdir -p "$logs" && touch "$logs/nightly.lock"; } 2>/dev/null ||
  finish 1 "cannot write to $logs: POKEWATCH_HOME must be a folder of this user"

# -- One run at a time --------------------------------------------------------------
# The kernel drops the lock with the last process that holds file 9: this shell and the pipeline,
# so that a killed run blocks nothing, and a pipeline that outlives its killed shell is not doubled.

exec 9>>"$logs/nightly.lock"
if ! flock -n 9; then
  if [ -n "$strict" ]; then
    say 'another run is going: nothing done, exit 75' >&2
    exit 75
  fi
  say 'another run is going: nothing done'
  exit 0
fi

log=$logs/nightly-$(date -u +%Y-%m-%d).log
touch "$log" 2>/dev/null || { log='' && finish 1 "cannot write to $logs"; }
keep_30() {
  while [ $# -gt 30 ]; do
    rm -f -- "$1"
    shift
  done
}
keep_30 "$logs"/nightly-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].log 9>&-

[ -x "$python" ] || finish 1 "no .venv in $project: run 'make setup' there"
say "start, at most $limit; log: $log"
heartbeat /start

# -- The run ----------------------------------------------------------------------
# A function is read whole before it runs: an update of this file cannot change a run that is going.

night() {
  from=$(($(wc -c <"$log") + 1))
  started=$(date +%s)
  grace=60
  [ "$seconds" -ge "$grace" ] || grace=$seconds
  stopped=
  trap 'stopped=1; kill -TERM "${child:-}" 2>/dev/null' HUP INT TERM
  timeout -k "$grace" "$seconds" "$python" pipelines/ml_pipeline.py "$@" >>"$log" 2>&1 </dev/null &
  child=$!
  [ -z "$stopped" ] || kill -TERM "$child"
  wait "$child"
  code=$?
  while [ -n "$stopped" ] && kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
  done
  trap '' HUP INT TERM
  elapsed=$(($(date +%s) - started))

  # The last line with something in it; of a progress bar, the state it ended with; no colours.
  last=$(tail -c "+$from" "$log" | tail -n 200 | LC_ALL=C awk '
    { gsub(/\033\[[0-9;]*[A-Za-z]/, ""); sub(/\r+$/, ""); sub(/.*\r/, ""); gsub(/[\001-\037]/, " ") }
    /[^ ]/ { line = $0 }
    END { sub(/^ +/, "", line); print line }' | cut -c 1-500)

  if [ "$code" -ne 0 ]; then
    # For cron's mail.
    tail -c "+$from" "$log" | tail -n 20 >&2
  fi
  if [ -n "$stopped" ] && [ "$code" -ne 0 ]; then
    finish 1 "stopped by a signal after $elapsed s"
  elif [ "$code" -eq 124 ] || { [ "$code" -eq 137 ] && [ "$elapsed" -ge "$seconds" ]; }; then
    finish 1 "over its time limit of $limit, stopped after $elapsed s"
  fi
  case $code in
    0) finish 0 "done in $elapsed s: ${last:-no output}" ;;
    1 | 2 | 3) finish "$code" "${last:-no output}" ;;
    *)
      [ "$code" -le 128 ] || last="killed by signal $((code - 128))${last:+ after: $last}"
      finish 1 "${last:-the pipeline ended with $code}" ;;
  esac
}
night "$@"
