#!/bin/sh
# What a container runtime does around a program, without one. To be started in namespaces of its own, with which all mounts and processes go:
#
#   unshare --pid --mount-proc --fork --kill-child container.sh build ROOT COMMAND…   a line of the Dockerfile: ROOT writable, this host's network
#   unshare --net …                                container.sh node ROOT FUNCTION…   a node on which ROOT is the image, and one of the functions below
set -eu

mount_common() {
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in null zero full random urandom; do bind "/dev/$device" "$root/dev/$device"; done
    mount -t tmpfs tmpfs "$root/tmp"
}

bind() {
    : >"$2"
    mount --bind "$1" "$2"
}

# Names are resolved as on this host; nothing else of it is seen.
mount_for_build() {
    mount_common
    [ -e "$root/etc/resolv.conf" ] || : >"$root/etc/resolv.conf"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
}

in_build() {
    chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
}

# As the DaemonSet's pods see it: everything read-only but volumes, /proc/sys too, and the host's network settings once more elsewhere.
mount_for_run() {
    mkdir -p "$root/host/proc/sys/net" "$root/run/raven" "$root/run/wireguard" "$root/var/lib/raven"
    mount_common
    mkdir "$root/dev/net"
    bind /dev/net/tun "$root/dev/net/tun"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount --bind /proc/sys/net "$root/host/proc/sys/net"
    mount -t tmpfs -o mode=700 tmpfs "$root/run/raven"
    mkdir "$root/run/raven/wireguard"
    mount --bind "$root/run/raven/wireguard" "$root/run/wireguard"
    mount -t tmpfs -o mode=755 tmpfs "$root/var/lib/raven"
    mount -o remount,bind,ro "$root"
}

# contain USER CAPABILITIES PROGRAM…: as a pod with this securityContext, `drop: [ALL]` and no privilege escalation.
contain() { (exec_contained "$@"); }

# In place of this shell, so that a signal for a job reaches the program.
exec_contained() {
    user=$1
    capabilities=$2
    shift 2
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" \
        setpriv --reuid "$user" --regid "$user" --clear-groups --bounding-set "$capabilities" --inh-caps "$capabilities" --no-new-privs "$@"
}

# --- what is tried ----------------------------------------------------------------------------------------------------

# Runs a program as the user of the image.
user() { contain "$image_user" -all "$@"; }

# The programs that agent and charon start, and none that only building needs.
programs() {
    for program in ip bridge nft unshare charon-systemd wg wireguard-go; do
        user sh -c "command -v $program" || { echo "$program is not in the image"; return 1; }
    done
    for program in npm gcc make wget; do
        ! user sh -c "command -v $program" || { echo "$program is in the image, and nothing there needs it"; return 1; }
    done
}

controller() {
    store >"$root/var/lib/raven/cluster.yaml"
    chown -R "$image_user" "$root/var/lib/raven"
    user raven controller --store dir:/var/lib/raven --once | tee "$root/tmp/out"
    grep -q 'a: active a1' "$root/tmp/out"
}

# A gateway with agent and charon, each in a container of its own; the agent is stopped, and charon carries on.
agent() { gateway ipsec has_connection; }

# The same with wireguard-go, or the kernel's WireGuard.
agent_wireguard() { gateway wireguard has_device; }

# gateway DRIVER TUNNELS: TUNNELS tells whether they are set up
gateway() {
    driver=$1
    tunnels=$2
    ip link set lo up
    ip link add eth0 type veth peer name eth1
    ip link set eth1 up
    ip address add 192.0.2.1/24 dev eth0
    ip link set eth0 up
    mkdir "$root/var/lib/raven/store"
    store >"$root/var/lib/raven/store/cluster.yaml"
    contain 0 -all raven controller --store dir:/var/lib/raven/store --once
    (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$root/run/raven/psk")
    exec_contained 0 -all,+net_admin raven charon --run-dir /run/raven &
    exec_contained 0 -all,+net_admin raven agent --store dir:/var/lib/raven/store --node a1 --psk-file /run/raven/psk \
        --vpn-driver "$driver" --charon external --sysctl-dir /host/proc/sys >"$root/tmp/agent.log" 2>&1 &
    agent=$!
    eventually node_is_set
    kill -TERM "$agent"
    wait "$agent" || { echo "the agent ended with $?"; cat "$root/tmp/agent.log"; return 1; }
    cat "$root/tmp/agent.log"
    ! grep -q '"level":"error"' "$root/tmp/agent.log" || { echo 'the agent logged errors'; return 1; }
    node_is_set
}

# What needs most: a device, rules, a firewall, sysctls that are not the kernel's defaults, and tunnels.
node_is_set() {
    ip rule show pref 100 | grep -q 9027 &&
        [ "$(cat /proc/sys/net/ipv4/conf/raven0/rp_filter)$(cat /proc/sys/net/ipv4/conf/raven0/forwarding)" = 21 ] &&
        nft list table inet raven >/dev/null && "$tunnels"
}

has_connection() { contain 0 -all swanctl --list-conns --uri "unix:///run/raven/charon.vici" | grep -q raven-b1; }

has_device() { [ "$(contain 0 -all,+net_admin wg show raven-wg0 listen-port)" = 4500 ]; }

eventually() {
    left=60
    until "$@" 2>/dev/null; do
        left=$((left - 1))
        [ $left -gt 0 ] || { echo "not within 30 s: $*"; ip -br link; ip rule; cat "$root/tmp/agent.log"; return 1; }
        sleep 0.5
    done
}

# Two regions with one node each.
store() {
    for region in 'a 1' 'b 2'; do
        name=${region% *}
        number=${region#* }
        cat <<END
apiVersion: v1
kind: Node
metadata: {name: ${name}1, labels: {raven.openyurt.io/gateway: $name}}
spec: {podCIDRs: [10.244.$number.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.$number}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: raven.openyurt.io/v1beta1
kind: Gateway
metadata: {name: $name}
spec: {tunnelConfig: {Replicas: 1}, endpoints: [{nodeName: ${name}1, type: tunnel, publicIP: 192.0.2.$number}]}
---
END
    done
}

mode=$1
root=$2
shift 2
image_user=${IMAGE_USER:-0}
case $mode in
    build)
        mount_for_build
        in_build "$@"
        ;;
    node)
        mount_for_run
        "$@"
        ;;
esac
