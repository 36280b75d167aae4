#!/bin/sh
# Process 1 of the kernel lab's guest: the rest of a minimal system, then the command, then its exit code into the share.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
share=/run/raven-vm

mkdir -p /dev/pts /dev/shm /run/lock /run/netns
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
mkdir -p /dev/net
# A kernel that is only unpacked on the host has its modules elsewhere.
[ -e "/lib/modules/$(uname -r)" ] || ln -s "$(cat "$share/modules")" "/lib/modules/$(uname -r)"

# What the data plane uses. Most would come by themselves; loading them here keeps "first use is slow" out of the tests.
for module in tun veth bridge vxlan dummy esp4 esp6 xfrm_interface xfrm_user authenc gcm wireguard sch_netem \
    nf_tables nft_ct nft_chain_nat nft_compat ip_tables ip6_tables iptable_nat iptable_mangle iptable_filter nf_conntrack_netlink; do
    modprobe -q "$module" || echo "kernel lab: no module $module" >/dev/console
done
ip link set lo up
hostname raven-vm

# The shell is process 1: while it waits for the command, it also reaps every process whose parent has gone.
sh "$share/command.sh" </dev/null >/dev/vport0p1 2>&1 &
wait $!
echo $? >"$share/status.new"
mv "$share/status.new" "$share/status"
sync
echo o >/proc/sysrq-trigger
sleep 60
