#!/usr/bin/env bash
# An Understudy executor in bash, curl, jq and timeout: runs a command for each job, one at a time.
#
# usage: agent.sh COMMAND [ARG...]    with these variables:
#
#   UNDERSTUDY_URLS         every replica, or the balancer before them: http://a:4600,http://b:4600
#   UNDERSTUDY_TOKEN        a token of role executor
#   UNDERSTUDY_EXECUTOR_ID  stable across restarts of one place; default: the host name
#   UNDERSTUDY_QUEUES       the queues to serve: a,b; default: default
#   UNDERSTUDY_GRACE        seconds from SIGTERM to SIGKILL where a command must stop; default: 10
#
# The command gets the payload as JSON on stdin, and the job in UNDERSTUDY_JOB_ID, _FENCE, _ATTEMPT,
# _QUEUE, _KIND and, if an earlier attempt told of its progress, _CHECKPOINT; its trace in TRACEPARENT.
# Exit code 0: the last line of its stdout is the result, if it is JSON. Any other: the attempt failed,
# with that line as its error if it is {"code": ..., "message": ..., "retryable": ...}.
#
# SIGTERM or SIGINT: take no new work, finish what is held. Once more: stop it and give it back.
# A refusal (a newer process has this id, the token is bad) ends it with exit code 1. The protocol
# is docs/executor-protocol.md.

set -euo pipefail
if [[ ${1:--h} == -h || $1 == --help ]]; then sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit; fi
for tool in curl jq timeout "$1"; do
  command -v "$tool" >/dev/null || { echo "agent.sh needs $tool, which is not here" >&2 && exit 1; }
done
IFS=, read -ra urls <<<"${UNDERSTUDY_URLS:?is not set}"
id=${UNDERSTUDY_EXECUTOR_ID:-$(hostname)} queues=${UNDERSTUDY_QUEUES:-default} command=("$@")
leaving='' told='' beats='' tried=0 polls=0

# The loop that works and the loop that beats share files. `at`: which URL served last; `held`: the
# lease, and `pid` its command while it runs; `reason`: why that is to stop.
dir=$(mktemp -d) && trap '[[ -z $beats ]] || kill -KILL "$beats" || true; rm -rf "$dir"' EXIT
put() { printf '%s' "$2" >"$dir/$1.$BASHPID" && mv "$dir/$1.$BASHPID" "$dir/$1"; }
for file in held pid reason on_silence drain; do put "$file" ''; done
put at 0 && put headers "authorization: Bearer ${UNDERSTUDY_TOKEN:?is not set}
content-type: application/json"
mkfifo "$dir/nudge" && exec 3<>"$dir/nudge" # a line in it: beat now
mkfifo "$dir/never" && exec 4<>"$dir/never" # to pause by, without a process

seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

# One try. 0: $answer is there. 1: not served; then it is the next replica's turn, after a pause if
# each has had one. 2: refused, for good: never by what has no code, which some proxy has said.
post() { # CALL SECONDS BODY
  local at round status=000 code='' ms=''
  at=$(<"$dir/at")
  if answer=$(curl -sS --connect-timeout 1 --max-time "$2" --header "@$dir/headers" \
    --data-binary @- --write-out '\n%{http_code}' "${urls[at]%/}/v1/executors/$1" <<<"$3"); then
    status=${answer##*$'\n'} answer=${answer%$'\n'*}
  fi
  [[ $status != 2?? || $answer != '{'* ]] || { tried=0 && return 0; }
  read -r code ms < <(jq -r 'objects | "\(.code // "-") \(.retry_after_ms)"' <<<"$answer" \
    2>/dev/null) || true
  if [[ $status == 413 || ($status == 4?? && $status != 408 && $status != 429 && $code == *[a-z]*) ]]; then
    echo "refused: $status $(jq -r '.detail?' <<<"$answer" 2>/dev/null)" >&2 && return 2
  fi
  if [[ $code != controller_recovering ]]; then # that one is about to serve: stay
    [[ $(<"$dir/at") != "$at" ]] || put at "$(((at + 1) % ${#urls[@]}))"
    (((tried += 1) % ${#urls[@]} == 0)) || return 1
  fi
  round=$((tried / ${#urls[@]}))
  [[ $ms =~ ^[0-9]{1,9}$ ]] || ms=$((RANDOM % (round < 5 ? 200 << round : 5000)))
  sleep "$(seconds "$((ms < 20 ? 20 : ms > 5000 ? 5000 : ms))")"
  return 1
}

stop() { # LEASE REASON: timeout passes it on to the process group, and kills that in the end
  [[ $1 == "$(<"$dir/held")" && -s $dir/pid && ! -s $dir/reason ]] || return 0
  put reason "$2" && echo "$1 is to stop: $2" >&2
  kill -TERM "$(<"$dir/pid")" || true
}

beat() { # until refused, or the agent is gone: then the job is stopped, and the next poll refused
  local held heard=$SECONDS sent status seconds drain reason seq=0
  trap '' TERM INT
  while kill -0 "$$" 2>/dev/null; do
    held=$(<"$dir/held") sent=$SECONDS status=0
    post "$id/heartbeat" 2 "{\"epoch\":$epoch,\"seq\":$((seq += 1)),\"assignments\":[$held]}" || status=$?
    if ((status == 0)); then
      read -r seconds drain reason < <(jq -r '(if .revoked != [] then "revoked" elif .cancel != []
        then "cancelled" else "" end) as $reason | "\(.heartbeat_ms / 1000) \(.drain) \($reason)"' \
        <<<"$answer") || { sleep 1 && continue; }
      heard=$sent && put drain "$drain"
      [[ -z $reason ]] || stop "$held" "$reason"
      read -r -t "$seconds" -u 3 || true
    elif ((status == 2)); then
      break
    elif ((SECONDS - heard > self_fence)) && [[ $(<"$dir/on_silence") == abort ]]; then
      stop "$held" silence
    fi
  done
  stop "$(<"$dir/held")" revoked
}

report() { # LEASE END, until it is answered; an end that is refused, for its size say, is a failure
  local refused='{"outcome":"failed","error":{"code":"report_refused","retryable":false}}'
  until post "$id/report" 2 "{\"epoch\":$epoch,\"reports\":[${1%\}},${2#\{}]}"; do
    (($? == 1)) && continue
    [[ $2 != "$refused" ]] || exit 1
    report "$1" "$refused" && return
  done
  echo "$1 $(jq -r .outcome <<<"$2"): $(jq -r '.results[0] | .reason // .status' <<<"$answer")" >&2
}

run() { # LEASE PAYLOAD MILLISECONDS ON_SILENCE VARIABLE...
  local pid code=0 end started=${EPOCHREALTIME//[!0-9]/}
  put reason '' && put on_silence "$4"
  env -u UNDERSTUDY_TOKEN "${@:5}" timeout -k "${UNDERSTUDY_GRACE:-10}" "$(seconds "$3")" \
    "${command[@]}" \
    <<<"$2" >"$dir/stdout" 3>&- 4>&- &
  pid=$!
  put pid "$pid"
  # Not by waiting: a signal that comes just before a `wait` is heard only at its end.
  while kill -0 "$pid" 2>/dev/null; do
    read -r -t 0.1 -u 4 || true
    heed
  done
  wait "$pid" || code=$?
  put pid ''
  # Only the time tells whose SIGKILL a 137 was, and who said 124.
  if [[ ! -s $dir/reason && $code == @(124|137) ]] && (($3 > 0)); then
    (((${EPOCHREALTIME//[!0-9]/} - started) / 1000 < $3)) || put reason run_timeout
  fi
  # What it started has its grace too, but must not go on beside the next attempt.
  if [[ -s $dir/reason ]]; then
    timeout "${UNDERSTUDY_GRACE:-10}" \
      bash -c 'while kill -0 -- "-$1" 2>/dev/null; do sleep 0.05; done' bash "$pid" || true
    kill -KILL -- "-$pid" 2>/dev/null || true
  fi
  end=$(tail -n 1 "$dir/stdout" | jq -Rsc --arg code "$code" --arg reason "$(<"$dir/reason")" '
    def failed(code; text): {outcome: "failed", error: {code: code[:128], message: text[:4000]}};
    (try fromjson catch null) as $last |
    if $code == "0" then {outcome: "succeeded", result: $last}
    elif $reason == "revoked" then empty
    elif $reason == "cancelled" then {outcome: "cancelled"}
    elif $reason == "run_timeout" then failed($reason; "ran longer than run_timeout_ms")
    elif $reason != "" then {outcome: "released"}
    elif ($last | type) == "object" and ($last.code | type) == "string" then
      failed($last.code; $last.message // "" | tostring)
      | .error.retryable = ($last.retryable != false)
    else failed("exit_code"; "exit code " + $code) end')
  [[ -z $end ]] || report "$1" "$end"
}

heed() { # signals: once, and once more
  [[ -z $leaving || $told ]] || { told=1 && echo 'taking no new work' >&2; }
  [[ $leaving != 1?* ]] || stop "$(<"$dir/held")" shutdown
}

lease='"job_id":"[^"]*","fence":[0-9]+'
unreadable='{"outcome":"failed","error":{"code":"unreadable_payload","retryable":false}}'
# A handler does no more than count. In bash one that reads, by $(<...) say, is cut off when the
# `read -t` that it interrupts runs out, and a signal that comes before it has ended is lost.
trap leaving+=1 TERM INT
registration="{\"executor_id\":\"$id\",\"queues\":[\"${queues//,/\",\"}\"]}"
until post register 2 "$registration"; do (($? == 1)) && [[ -z $leaving ]] || exit 1; done
read -r epoch self_fence < <(jq -r '"\(.epoch) \(.self_fence_ms / 1000 | floor)"' <<<"$answer")
echo "$id registered, epoch $epoch" >&2
beat &
beats=$! && disown
while [[ -z $leaving ]]; do
  if [[ $(<"$dir/drain") == true ]]; then sleep 1 && continue; fi
  # A short wait: a poll that waits is never hung up, since it may just be bringing work.
  post "$id/poll" 7 "{\"epoch\":$epoch,\"wait_ms\":5000,\"poll_id\":\"$polls\"}" || {
    (($? == 1)) || exit 1
    continue # an answer may have been lost: the same poll_id again
  }
  polls=$((polls + 1))
  readarray -t job < <(jq -r '.assignments[] | ({job_id, fence} | tojson), (.payload | tojson),
    (.run_timeout_ms // 0), .on_silence, ("UNDERSTUDY_" + ("JOB_ID=\(.job_id)",
    "FENCE=\(.fence)", "ATTEMPT=\(.attempt)", "QUEUE=\(.queue)", "KIND=\(.kind)",
    (.checkpoint | values | "CHECKPOINT=\(tojson)"))), "TRACEPARENT=\(.traceparent // "")"' \
    <<<"$answer")
  if ((${#job[@]} == 0)); then # none; or jq cannot read it: half of a surrogate pair, say
    [[ $answer =~ $lease ]] && report "{${BASH_REMATCH[0]}}" "$unreadable"
    continue
  fi
  if [[ -n $leaving ]]; then report "${job[0]}" '{"outcome":"released"}' && break; fi
  put held "${job[0]}" && echo >&3 # shows at once that the job has arrived
  echo "${job[0]} started" >&2
  run "${job[@]}"
  put held ''
done
heed
