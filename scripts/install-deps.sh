#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
#
# install-deps.sh GROUP...: installs those of the packages in scripts/packages that are missing, as root or by sudo.
#
# Some of them (varnish, nginx) bring services of which we want only the programs.  A service that apt would start
# could take a port, and a restart would disturb one that runs.  So, while apt works:
#  * a guard in policy-rc.d answers "forbidden by policy" (101) for the services of the packages that are being
#    installed, and asks the policy that was there before about all others;
#  * afterwards these services are disabled, so that the next boot does not start them either.
# Packages that are installed already are left alone, and so are their services.  The guard goes away however the
# script ends; should it be killed outright, the guard notices that and steps aside, and the next run removes it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# The tests of this script set these two; nobody else needs to.
packages=${OBJM_PACKAGES:-$here/packages}
policy=${OBJM_POLICY_RC_D:-/usr/sbin/policy-rc.d}
saved=$policy.before-objmapper
mark="guard of objmapper's install-deps"

say() { echo "install-deps: $*" >&2; }

[ $# -gt 0 ] || { say "usage: install-deps.sh GROUP... (groups: run test bench)"; exit 2; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "this is not a Debian system; see scripts/packages for what has to be there"
    exit 0
fi

missing=() services=()
while read -r group package starts; do
    case $group in '' | '#'*) continue ;; esac
    case " $* " in *" $group "*) ;; *) continue ;; esac
    case " ${missing[*]-} " in *" $package "*) continue ;; esac
    installed "$package" && continue
    missing+=("$package")
    # shellcheck disable=SC2206  # a list of words is what it is
    services+=($starts)
done <"$packages"

[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        say "missing: ${missing[*]}"
        say "neither root nor sudo is at hand; as root, run: apt-get install ${missing[*]}"
        exit 1
    fi
    say "missing: ${missing[*]}; asking sudo"
    exec sudo --preserve-env=OBJM_PACKAGES,OBJM_POLICY_RC_D "$0" "$@"
fi

is_guard() { [ -f "$1" ] && grep -q "$mark" "$1"; }

# Also undoes what a run that was killed left behind.
guard_remove() {
    if is_guard "$policy"; then
        rm -f "$policy"
    fi
    if [ -e "$saved" ] || [ -L "$saved" ]; then
        mv -f "$saved" "$policy"
    fi
}

guard_place() {
    if [ -e "$policy" ] || [ -L "$policy" ]; then
        mv "$policy" "$saved"
    fi
    local names=$1 new=$policy.new.$$
    cat >"$new" <<EOF
#!/bin/sh
# $mark: removed when it ends.
case "\$1" in --*) service=\$2 ;; *) service=\$1 ;; esac
if kill -0 $$ 2>/dev/null; then
    case " $names " in *" \${service%.service} "*) exit 101 ;; esac
fi
if [ -x "$saved" ]; then
    exec "$saved" "\$@"
fi
exit 0
EOF
    chmod 755 "$new"
    mv "$new" "$policy"
}

service_disable() {
    if command -v systemctl >/dev/null; then
        systemctl --quiet disable "$1.service" 2>/dev/null || say "could not disable $1.service"
    fi
    if [ -e "/etc/init.d/$1" ] && command -v update-rc.d >/dev/null; then
        update-rc.d "$1" disable >/dev/null 2>&1 || say "could not disable the init script $1"
    fi
}

lock=/run/lock/objmapper-install-deps
mkdir -p "${lock%/*}"
exec 9>"$lock"
flock 9

guard_remove
if [ ${#services[@]} -gt 0 ]; then
    trap guard_remove EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    guard_place "${services[*]}"
fi

say "installing ${missing[*]} (this may take minutes)"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get -q update && apt-get -q -y --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1 9>&-; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    say "apt-get failed; what is needed: ${missing[*]}"
    exit 1
fi
rm -f "$log"
for service in "${services[@]}"; do
    service_disable "$service"
done
