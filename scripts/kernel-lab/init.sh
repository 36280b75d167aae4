#!/bin/busybox sh
# First program of the kernel lab's guest, in its initial RAM disk (see initrd.ts): makes the host's file system,
# read-only over 9P with a RAM layer above it, the root, and goes on with guest.sh from the run's own share.
/bin/busybox --install -s /bin
export PATH=/bin

fail() {
    echo "kernel lab: $*"
    echo o >/proc/sysrq-trigger
    sleep 60
}

# A fresh, empty, fast file system; the checkout stays visible when it lies below (somebody cloned into /tmp).
fresh() {
    mount -t tmpfs -o "mode=$2" tmpfs /fresh
    case $workdir in
        "$1"/*)
            mkdir -p "/fresh${workdir#"$1"}"
            mount --bind "/root$workdir" "/fresh${workdir#"$1"}"
            ;;
    esac
    mkdir -p "/root$1"
    mount --move /fresh "/root$1"
}

mkdir -p /dev /proc /sys /lower /layer /share /root /fresh
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    insmod "/modules/$module" || echo "kernel lab: cannot load $module"
done </modules/order

share=trans=virtio,version=9p2000.L,msize=1048576
mount -t 9p -o "$share,cache=loose,ro" root /lower || fail "cannot mount the host's file system"
mount -t 9p -o "$share,cache=none" run /share || fail "cannot mount the run's share"
mount -t tmpfs -o mode=755 tmpfs /layer
mkdir -p /layer/upper /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work overlay /root || fail "cannot mount the overlay"

read -r workdir </share/workdir
fresh /tmp 1777
fresh /run 755
mkdir -p /root/run/raven-vm
mount --move /share /root/run/raven-vm
for dir in dev proc sys; do
    mkdir -p /root/$dir
    mount --move /$dir /root/$dir
done
exec switch_root /root /bin/sh /run/raven-vm/guest.sh
