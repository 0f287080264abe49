#!/bin/sh
# What the tests' jobs run: a line in $RUNS for each execution, and then what the kind says.
set -eu
payload=$(cat)
echo "$UNDERSTUDY_JOB_ID $UNDERSTUDY_FENCE" >>"$RUNS"
echo "running $UNDERSTUDY_JOB_ID $UNDERSTUDY_FENCE" >&2
case $UNDERSTUDY_KIND in
  echo) echo 'noise, no JSON' && printf '%s\n' "$payload" ;;
  env) printf '{"attempt":%s,"checkpoint":%s,"token":"%s"}\n' \
    "$UNDERSTUDY_ATTEMPT" "$UNDERSTUDY_CHECKPOINT" "${UNDERSTUDY_TOKEN-}" ;;
  trace) printf '"%s"\n' "${TRACEPARENT-}" ;;
  fail) exit 3 ;;
  hopeless) echo '{"code":"no_cat","message":"there is no cat","retryable":false}' && exit 1 ;;
  large) printf '"' && head -c 300000 /dev/zero | tr '\0' x && echo '"' ;;
  wait) until [ -e "$GO" ]; do [ -e "$RUNS" ] || exit 1; sleep 0.02; done && echo '{"waited":true}' ;;
  # Its child ignores SIGTERM, from its first moment; it does not.
  orphan)
    trap '' TERM
    while [ -e "$RUNS" ]; do sleep 0.02; done &
    trap - TERM
    echo "child $!" >&2
    wait
    ;;
  # It ignores SIGTERM, and so does its child.
  stubborn)
    trap '' TERM
    while [ -e "$RUNS" ]; do sleep 0.02; done &
    echo "child $!" >&2
    while [ -e "$RUNS" ]; do sleep 0.02; done
    ;;
esac
