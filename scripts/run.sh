#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
# run.sh [ORIGIN]: builds, starts objmapperd on 127.0.0.1:6081 in front of ORIGIN (host:port), or in front of the demo
# site of examples/demo, and stays in the foreground until Ctrl-C, which stops both.  OBJMAPPERD=FILE takes that daemon
# in place of building one.
set -euo pipefail
cd "$(dirname "$0")/.."
origin=${1-}
listen_port=${PORT:-6081}
demo_port=${DEMO_PORT:-6080}
daemon_pid='' demo_pid=''

say() { echo "run: $*"; }
fail() {
    echo "run: $*" >&2
    exit 1
}

# True when something accepts connections on that port of the loopback address.
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

wait_until_answers() {
    local port=$1 pid=$2 tries
    for ((tries = 0; tries < 100; tries++)); do
        kill -0 "$pid" 2>/dev/null || return 1
        port_answers "$port" && return 0
        sleep 0.1
    done
    return 1
}

stop() {
    trap - EXIT INT TERM
    local pid
    for pid in $daemon_pid $demo_pid; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    wait
}

# Where the tools find the daemon: a plain name means /var/lib/varnish/NAME, which only root can make.
workdir_name() {
    if [ "$(id -u)" = 0 ] || [ -w /var/lib/varnish/objmapper ]; then
        echo objmapper
    else
        echo "${XDG_RUNTIME_DIR:-/tmp}/objmapper-$(id -un)"
    fi
}

port_answers "$listen_port" && fail "port $listen_port is in use already (another cache?); PORT=6082 make run takes another"
daemon=${OBJMAPPERD:-build/bin/objmapperd}
if [ -z "${OBJMAPPERD:-}" ]; then
    scripts/install-deps.sh run
    make build
    port_answers "$listen_port" && fail "port $listen_port is in use already"
fi

trap stop EXIT
trap 'stop; exit 0' INT TERM
if [ -z "$origin" ]; then
    port_answers "$demo_port" && fail "port $demo_port, where the demo site would be, is in use; DEMO_PORT=6090 make run takes another"
    python3 examples/demo/origin.py --port "$demo_port" &
    demo_pid=$!
    wait_until_answers "$demo_port" "$demo_pid" || fail "the demo site did not start"
    origin=127.0.0.1:$demo_port
fi

name=$(workdir_name)
"$daemon" -F -n "$name" -a "127.0.0.1:$listen_port" -b "$origin" -s malloc,256m &
daemon_pid=$!
wait_until_answers "$listen_port" "$daemon_pid" || fail "objmapperd did not start; its messages are above"

url=http://127.0.0.1:$listen_port
cat <<EOF

objmapperd answers on $url in front of $origin.  Try, in another terminal:

  curl -i $url/                       # twice: the second answer comes from the cache (see Age, X-Varnish)
EOF
[ -z "$demo_pid" ] || cat <<EOF
  curl -i $url/time                   # the origin forbids caching this one
  curl -o /dev/null $url/big.bin      # 32 MiB, sent from a file descriptor
EOF
cat <<EOF
  varnishstat -n $name          # counters
  varnishlog -n $name -g request
  varnishadm -n $name status

Ctrl-C stops it.
EOF
wait "$daemon_pid" || say "objmapperd ended with status $?"
