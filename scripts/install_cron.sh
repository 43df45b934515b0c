#!/bin/sh
# Puts the nightly run of this project into the user's crontab, or takes it out again.
#
#   install_cron.sh [--at "MINUTE HOUR DAY MONTH WEEKDAY"] [--remove] [--show]
#
#   --at       when, in the machine's time zone; default: as it is now, or "0 3 * * *"
#   --remove   take the line out
#   --show     print the line, change nothing
#
# Only the line that ends in the mark of this project's folder is touched.
# Exit: 0 done, 1 failed, 2 usage.

set -u
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL

fail() {
  code=$1
  shift
  printf '%s\n' "$*" >&2
  exit "$code"
}
usage() { sed -n '1d; /^$/q; s/^# \{0,1\}//p' "$self"; }

self=$0
while [ -L "$self" ]; do
  target=$(readlink "$self")
  case $target in
    /*) self=$target ;;
    *) self=$(dirname "$self")/$target ;;
  esac
done
project=$(CDPATH='' cd -- "$(dirname -- "$self")/.." && pwd -P) || fail 1 "no project around $0"

at=
action=install
while [ $# -gt 0 ]; do
  case $1 in
    --at)
      [ $# -gt 1 ] || fail 2 '--at needs the five fields of a crontab: --at "0 3 * * *"'
      at=$2
      [ -n "$at" ] || at=' '
      shift ;;
    --at=*) at="${1#--at=} " ;;
    --remove) action=remove ;;
    --show) action=show ;;
    -h | --help) usage && exit 0 ;;
    *) fail 2 "unknown option '$1': --at \"0 3 * * *\", --remove or --show" ;;
  esac
  shift
done

# Prints the fields with single blanks between them; fails, saying why, if they are not five good ones.
fields() {
  AT=$1 awk '
    function number(text, names,   place) {
      if (text ~ /^[0-9][0-9]?$/) return text + 0
      place = index(" " names " ", " " tolower(text) " ")
      if (text !~ /^[A-Za-z][A-Za-z][A-Za-z]$/ || !place) return -1
      return (place - 1) / 4 + (names ~ /^jan/)
    }
    function good(field, low, high, names,   items, count, i, step, ends, first, last) {
      count = split(field, items, ",")
      if (field ~ /^,|,$|,,/) return 0
      for (i = 1; i <= count; i++) {
        step = split(items[i], ends, "/")
        if (step > 2 || (step == 2 && (ends[2] !~ /^[0-9]+$/ || ends[2] + 0 < 1))) return 0
        if (ends[1] == "*") continue
        if (split(ends[1], range, "-") > 2) return 0
        first = number(range[1], names)
        last = ends[1] ~ /-/ ? number(range[2], names) : first
        if (step == 2 && ends[1] !~ /-/) return 0
        if (first < low || last > high || last < first) return 0
      }
      return 1
    }
    BEGIN {
      at = ENVIRON["AT"]
      if (at ~ /[\n\r]/) { print "it has more than one line"; exit 1 }
      count = split(at, field, " ")
      if (count != 5) { print "it has " count " fields, not five"; exit 1 }
      split("minute hour day month weekday", name, " ")
      split("0 0 1 1 0", low, " ")
      split("59 23 31 12 7", high, " ")
      names[4] = "jan feb mar apr may jun jul aug sep oct nov dec"
      names[5] = "sun mon tue wed thu fri sat"
      for (i = 1; i <= 5; i++) if (!good(field[i], low[i] + 0, high[i] + 0, names[i])) {
        print "the " name[i] " is \047" field[i] "\047"; exit 1
      }
      print field[1], field[2], field[3], field[4], field[5]
    }'
}

if [ -n "$at" ]; then
  time=$(fields "$at") || fail 2 "--at '$at' is no time of a crontab: $time; say --at \"0 3 * * *\""
  at=$time
fi

case $project in
  *\\* | *'
'*) fail 1 "cron cannot run a script in a folder with a backslash or a new line in its name" ;;
esac
command -v crontab >/dev/null ||
  fail 1 "there is no 'crontab' here: install cron (package cron or cronie), or use a systemd timer"

scratch=$(mktemp -d) || fail 1 'cannot make a temporary folder'
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

if ! crontab -l >"$scratch/old" 2>"$scratch/error"; then
  # An empty crontab is an error for crontab; any other must not lead to overwriting one.
  grep -qi -e 'no crontab' -e 'no such file' "$scratch/error" ||
    fail 1 "crontab -l failed: $(cat "$scratch/error")"
  : >"$scratch/old"
fi

# In a crontab a bare % ends the command, even within quotes.
escaped() { printf '%s\n' "$1" | sed 's/%/\\%/g'; }
quoted() { printf '%s\n' "$1" | sed "s/'/'\\\\''/g; s/^/'/; s/\$/'/"; }
MARK="# pokewatch nightly: $(escaped "$project")"
export MARK

own() { # the lines that end in the mark
  awk '{ at = length($0) - length(ENVIRON["MARK"]) }
    at >= 0 && substr($0, at + 1) == ENVIRON["MARK"]' "$scratch/old"
}
present=$(own)

if [ "$action" = show ]; then
  [ -n "$present" ] || fail 0 "not in the crontab: $project"
  printf '%s\n' "$present"
  exit 0
fi

LINE=
if [ "$action" = install ]; then
  if [ -z "$at" ]; then
    at=$(fields "$(printf '%s\n' "$present" | awk 'NR == 1 { print $1, $2, $3, $4, $5 }')") ||
      at='0 3 * * *'
  fi
  LINE="$at /bin/sh $(escaped "$(quoted "$project/scripts/run_zenml_pipeline.sh")") $MARK"
fi
export LINE

# The line takes the place of the one there was; every other line passes through.
awk '
  { at = length($0) - length(ENVIRON["MARK"]) }
  at >= 0 && substr($0, at + 1) == ENVIRON["MARK"] {
    if (!done++ && ENVIRON["LINE"] != "") print ENVIRON["LINE"]
    next
  }
  { print }
  END { if (!done && ENVIRON["LINE"] != "") print ENVIRON["LINE"] }' \
  "$scratch/old" >"$scratch/new" || fail 1 'could not make the new crontab; the old one stays'

if cmp -s "$scratch/old" "$scratch/new"; then
  [ -n "$LINE" ] && echo "already in the crontab, unchanged: $LINE" ||
    echo "not in the crontab, nothing to remove: $project"
  exit 0
fi
crontab - <"$scratch/new" || fail 1 'crontab refused the new table; the old one stays'
case $action,$present in
  remove,*) echo "removed from the crontab: $present" ;;
  install,) echo "added to the crontab: $LINE" ;;
  *) echo "changed in the crontab: $LINE" ;;
esac
