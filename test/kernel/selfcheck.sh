#!/bin/sh
# What the kernel lab promises to the tests that run inside it, one TAP line each. Runs only in the virtual machine:
#   node scripts/vm.ts -- sh test/kernel/selfcheck.sh
count=0
failed=0
checkout=$(cd "$(dirname "$0")/../.." && pwd)

# check NAME COMMAND…: passes when the command does; prints what it said when not.
check() {
    name=$1
    shift
    count=$((count + 1))
    if said=$("$@" 2>&1); then
        echo "ok $count - $name"
    else
        failed=$((failed + 1))
        echo "not ok $count - $name"
        echo "$said" | sed 's/^/# /'
    fi
}

in_vm() { [ -d /run/raven-vm ]; }
two_cpus() { [ "$(nproc)" = 2 ]; }
writable() { for dir in /tmp /run /var/lib /etc /root "$checkout"; do
    touch "$dir/.raven-selfcheck" && rm "$dir/.raven-selfcheck" || return 1
done; }
netns() {
    mkdir -p /etc/netns/rvn-self && echo nameserver 192.0.2.53 >/etc/netns/rvn-self/resolv.conf &&
        ip netns add rvn-self && ip netns exec rvn-self grep -q 192.0.2.53 /etc/resolv.conf &&
        ip netns exec rvn-self ip link set lo up
    result=$?
    ip netns del rvn-self
    rm -r /etc/netns/rvn-self
    return $result
}
loopback() { ping -c 1 -W 5 127.0.0.1; }
clock() { [ "$(date +%Y)" -ge 2025 ]; }
entropy() { timeout 10 head -c 1048576 /dev/random >/dev/null; }
node_runs() { "$checkout/node_modules/.bin/node" -e 'process.exit(Number(process.versions.node.split(".")[0]) < 22 ? 1 : 0)'; }
unix_socket() { "$checkout/node_modules/.bin/node" -e '
    const net = require("node:net");
    const server = net.createServer((socket) => socket.end("yes")).listen("/run/self.sock", () =>
        net.connect("/run/self.sock").on("data", (data) => process.exit(String(data) === "yes" ? 0 : 1)));
    setTimeout(() => process.exit(1), 30000);'; }
# A process that loses its parent and ends must not stay as a zombie: liveness checks by pid would see it for ever.
orphans() {
    orphan=$(sh -c 'sleep 0.1 >/dev/null & echo $!')
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -d "/proc/$orphan" ] || return 0
        sleep 0.5
    done
    return 1
}
links() {
    ip netns add rvn-self || return 1
    ip -n rvn-self link add v0 type veth peer name v1 &&
        ip -n rvn-self link set v1 up && ip -n rvn-self link set v0 up &&
        ip -n rvn-self address add 192.0.2.2/24 dev v0 &&
        ip -n rvn-self link add x0 type xfrm dev v0 if_id 3 &&
        ip -n rvn-self link add w0 type wireguard &&
        ip -n rvn-self link add vx0 type vxlan id 200 dstport 4472 nolearning &&
        ip -n rvn-self link add b0 type bridge &&
        ip -n rvn-self tuntap add t0 mode tun &&
        ip netns exec rvn-self tc qdisc add dev v0 root netem delay 20ms loss 1% &&
        ip -n rvn-self nexthop add id 9001 via 192.0.2.1 dev v0 onlink
    result=$?
    ip netns del rvn-self
    return $result
}
esp() {
    ip netns add rvn-self || return 1
    ip -n rvn-self xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100 mode tunnel if_id 3 \
        aead 'rfc4106(gcm(aes))' 0x0102030405060708090a0b0c0d0e0f1011121314 128 encap espinudp 4500 4500 0.0.0.0
    result=$?
    ip netns del rvn-self
    return $result
}
nft_nat() {
    ip netns add rvn-self || return 1
    ip netns exec rvn-self nft 'add table inet t; add chain inet t c { type nat hook postrouting priority 90; };
        add rule inet t c ip saddr 10.0.0.0/8 snat ip to ip saddr; add chain inet t r { type filter hook prerouting priority raw; };
        add rule inet t r meta iifgroup 9027 notrack'
    result=$?
    ip netns del rvn-self
    return $result
}
iptables_both() {
    ip netns add rvn-self || return 1
    for variant in iptables-legacy iptables-nft ip6tables-legacy ip6tables-nft; do
        ip netns exec rvn-self "$variant" -t nat -A POSTROUTING -j MASQUERADE --random-fully &&
            ip netns exec rvn-self "$variant" -t mangle -A PREROUTING -m conntrack --ctstate ESTABLISHED -j ACCEPT || break
    done
    result=$?
    ip netns del rvn-self
    return $result
}
conntrack_lists() { conntrack -L; }

in_vm || { echo 'Bail out! this is not the virtual machine: node scripts/vm.ts -- sh test/kernel/selfcheck.sh'; exit 2; }
check 'has two processors' two_cpus
check 'every place a test writes to is writable' writable
check 'network namespaces work, with /etc/netns' netns
check 'the loopback is up' loopback
check 'the clock is set' clock
check 'random numbers come without waiting' entropy
check 'Node.js starts' node_runs
check 'Unix sockets work in /run' unix_socket
check 'orphans are reaped' orphans
check '/dev/net/tun is there' test -c /dev/net/tun
check 'veth, xfrm, wireguard, vxlan, bridge and tun links, netem, next-hop objects' links
check 'the kernel takes an ESP state with UDP encapsulation' esp
check 'nftables does nat and notrack' nft_nat
check 'iptables works in both kinds' iptables_both
check 'conntrack lists' conntrack_lists
echo "1..$count"
[ "$failed" = 0 ]
