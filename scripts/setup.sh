#!/bin/sh
# Installs what is missing for building, running and testing Raven from a checkout, and nothing that is there already.
#
#   scripts/setup.sh SECTION…     build    what `make build` needs: the npm packages, in node_modules
#                                 lab      tools and a kernel for `raven lab`
#                                 kernel   virtual machine of `make test-kernel`
#                                 kernels  a newer kernel beside it, unpacked into a cache, for `make test-kernel-matrix`
#                                 e2e      tools of the lab's tests
#                                 bench    tools of `make bench`
#                                 image    tool of `make test-image`
#                                 kube     a real kube-apiserver and its companions, built once into a cache
#
# Packages come from the system's own apt and npm. Ends with exit code 2 and one line when this system cannot be made fit.
# Written for a plain POSIX sh: it runs before anything of ours is installed.
set -u
cd "$(dirname "$0")/.." || exit 2
# Tools that an ordinary PATH leaves out.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH LC_ALL=C

log=
policy=
job=
scratch=
main() {
    [ $# -gt 0 ] || set -- build
    trap 'cleanup; exit 130' INT TERM HUP
    trap cleanup EXIT
    for section in "$@"; do
        case $section in
            build | kube) ;;
            lab | kernel | kernels | e2e | bench | image)
                [ "$(id -u)" = 0 ] || unfit "this needs root: network namespaces and tunnels are made (try: sudo make ...)"
                ;;
            *) unfit "no section '$section' (there are: build lab kernel kernels e2e bench image kube)" ;;
        esac
    done

    packages=
    for section in "$@"; do "packages_$section"; done
    install_packages
    for section in "$@"; do
        case $section in
            build) install_modules ;;
            lab) check_kernel ;;
            kernels) unpack_newer_kernel ;;
            kube) build_kube_tools ;;
        esac
    done
}

# --- what is needed: package, and how to see that it is there ---------------------------------------------------------

packages_build() { :; }

packages_lab() {
    needs iproute2 have ip bridge tc ss
    needs nftables have nft
    # Whichever variant is the default: the lab writes rules in both.
    needs iptables have iptables-legacy iptables-nft ip6tables-legacy ip6tables-nft
    needs conntrack have conntrack
    needs iputils-ping have ping
    needs procps have sysctl
    needs charon-systemd have charon-systemd
    needs strongswan-swanctl plugin vici
    # X25519 and AES-GCM.
    needs libstrongswan-standard-plugins plugin openssl
    # ESP in user space.
    needs libcharon-extra-plugins plugin kernel-libipsec
    needs wireguard-tools have wg
    # For kernels without WireGuard.
    needs wireguard-go have wireguard-go
}

packages_kernel() {
    [ "$(uname -m)" = x86_64 ] || unfit "the kernel lab is made for x86_64, this is $(uname -m)"
    needs qemu-system-x86 have qemu-system-x86_64
    needs busybox-static static_busybox
    needs util-linux have setpriv
    needs kmod have modprobe
    needs xz-utils have xz
    needs "$(kernel_package)" kernel_with_9p
}

packages_kernels() { packages_kernel; }

packages_e2e() {
    needs tcpdump have tcpdump
}

packages_bench() {
    needs iperf3 have iperf3
    # By hand, beside Raven's own tunnels.
    needs wireguard-tools have wg
    needs wireguard-go have wireguard-go
}

packages_image() {
    needs debootstrap have debootstrap
    needs util-linux have setpriv unshare
}

# The compiler is no Debian package: theirs is too old for Kubernetes.
packages_kube() { :; }

# needs PACKAGE CHECK…: notes the package when the check fails.
needs() {
    package=$1
    shift
    "$@" || packages="$packages $package"
}

have() {
    for program in "$@"; do command -v "$program" >/dev/null || return 1; done
}

plugin() {
    for file in /usr/lib/ipsec/plugins/libstrongswan-"$1".so /usr/lib/*/ipsec/plugins/libstrongswan-"$1".so; do
        [ ! -e "$file" ] || return 0
    done
    return 1
}

# The guest has no libraries before it has its root.
static_busybox() { [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1; }

# Debian's "cloud" kernels have no 9P file system.
kernel_with_9p() {
    for image in /boot/vmlinuz-*; do
        for module in "/lib/modules/${image#/boot/vmlinuz-}"/kernel/fs/9p/9p.ko*; do
            [ -e "$image" ] && [ -e "$module" ] && return 0
        done
    done
    return 1
}

kernel_package() {
    if grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; then echo linux-image-generic; else echo linux-image-amd64; fi
}

# --- installing -------------------------------------------------------------------------------------------------------

install_packages() {
    packages=$(printf '%s\n' $packages | sort -u | tr '\n' ' ')
    packages=${packages% }
    [ -n "$packages" ] || return 0
    have apt-get || unfit "missing: $packages (names of Debian's packages); this is no Debian or Ubuntu, install them by hand"

    with_strongswan=
    case " $packages " in *" charon-systemd "*) with_strongswan=yes ;; esac
    forbid_services
    export DEBIAN_FRONTEND=noninteractive
    # A fresh image has no package lists; old ones name versions that are gone.
    step "list of packages" apt-get -q update || unfit "apt-get update failed (see above)"
    # shellcheck disable=SC2086 # a list
    step "packages: $packages" apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 install $packages ||
        unfit "apt-get install failed (see above); missing: $packages"
    # Raven starts a charon of its own; the package's would take UDP 500 and 4500 at the next boot.
    [ -z "$with_strongswan" ] || ! have systemctl || systemctl disable --quiet strongswan.service >/dev/null 2>&1
    cleanup
}

# Debian's way to say "install, do not start" (invoke-rc.d(8)). Leaves an administrator's own file alone.
forbid_services() {
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
}

install_modules() {
    node=node_modules/.bin/node
    if [ -x $node ] && [ -e node_modules/.package-lock.json ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; then
        return 0
    fi
    have node npm || unfit "Node.js with npm is missing: install any version (on Debian and Ubuntu: apt-get install npm)"
    # Not `npm ci`: that insists on a lock file with the builds for every other system too, which not every registry has.
    # This installs what the lock file says and does not change it.
    step "npm packages, with Node.js 24" npm install --no-save --no-audit --no-fund --loglevel=error || unfit "npm install failed (see above)"
    # npm keeps the date of an unchanged list; make the check above see that it is fresh.
    touch node_modules/.package-lock.json
    $node -e 0 2>/dev/null || unfit "npm did not install Node.js 24 (are install scripts switched off? npm config get ignore-scripts)"
}

# --- another kernel ---------------------------------------------------------------------------------------------------

# Debian has newer kernels among its backports. It is only unpacked, not installed: this machine boots as before. The lists of that suite are
# kept apart from the system's. Without it the matrix has one kernel less, and says so.
unpack_newer_kernel() {
    kernels=${XDG_CACHE_HOME:-/var/cache}/raven/kernels
    for image in "$kernels"/*/boot/vmlinuz-*; do [ ! -e "$image" ] || return 0; done
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    sources=/etc/apt/sources.list.d/debian.sources
    [ -e $sources ] || without_newer_kernel "no $sources" || return 0
    scratch=$(mktemp -d)
    mkdir -p "$scratch/sources" "$scratch/lists/partial" "$scratch/unpacked"
    # The first stanza is the archive itself; its suite of backports is beside it.
    awk 'BEGIN { RS = "" } NR == 1' $sources | sed "s/^Suites:.*/Suites: $codename-backports/" >"$scratch/sources/backports.sources"
    step "list of backports" backports update || without_newer_kernel "apt-get update failed (see above)" || return 0
    newest=$(apt-cache $(backports_options) depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$newest" ] || without_newer_kernel "$codename-backports has none" || return 0
    step "$newest, unpacked" fetch_kernel || without_newer_kernel "$newest could not be had (see above)" || return 0
    mkdir -p "$kernels"
    rm -rf "${kernels:?}/$newest"
    mv "$scratch/unpacked" "$kernels/$newest"
    rm -rf "$scratch"
    scratch=
}

fetch_kernel() {
    (cd "$scratch" && backports download "$newest") && dpkg-deb -x "$scratch/$newest"_*.deb "$scratch/unpacked" &&
        depmod -b "$scratch/unpacked" "${newest#linux-image-}"
}

backports() {
    # shellcheck disable=SC2046 # a list
    apt-get -q $(backports_options) "$@"
}

backports_options() {
    printf '%s ' -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$scratch/sources" -o "Dir::State::Lists=$scratch/lists" \
        -o APT::Sandbox::User=root
}

without_newer_kernel() {
    printf '  - no newer kernel: %s\n' "$1"
    rm -rf "$scratch"
    scratch=
    return 1
}

# --- a real Kubernetes ------------------------------------------------------------------------------------------------

# Programs of a cluster, for tests and for `raven lab up --store kube`: built once into a cache outside the checkout whose name follows from the
# versions (scripts/kube-tools). Without them those tests are skipped, so nothing here ends in a failure; it says what is missing.
kube_go=1.26
build_kube_tools() {
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/etcd" ] && [ -x "$KUBEBUILDER_ASSETS/kube-apiserver" ]; then
        provided='etcd kube-apiserver'
    else
        provided=
    fi
    key=$(cat scripts/kube-tools/*/go.mod scripts/kube-tools/*/go.sum | sha256sum | cut -c1-12)
    cache=${RAVEN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/raven}/kube-$key
    [ "$(missing_kube_tools)" ] || return 0
    have go || without_kube "there is no Go compiler (version $kube_go or newer is needed)" || return 0
    go_is_new_enough || without_kube "$(go version) is too old (version $kube_go or newer is needed)" || return 0
    have gcc || without_kube "there is no gcc (on Debian and Ubuntu: apt-get install gcc libc6-dev)" || return 0
    mkdir -p "$cache" || without_kube "cannot write to $cache" || return 0
    # One builds, another set-up that runs at the same time waits and finds everything there.
    exec 9>"$cache/.lock"
    flock 9
    missing=$(missing_kube_tools)
    [ -z "$missing" ] || printf '  Kubernetes is built once, into %s (10 to 20 minutes on two cores)\n' "$cache"
    k8s=$(sed -n 's/^require k8s.io\/kubernetes \(.*\)/\1/p' scripts/kube-tools/kubernetes/go.mod)
    for tool in $missing; do
        case $tool in
            etcd) build_go etcd etcd go.etcd.io/etcd/server/v3 ;;
            helm)
                # Charts ask for the version of Kubernetes; a helm that was built without one says 1.20.
                minor=${k8s#v1.}
                of=helm.sh/helm/v3/pkg/chartutil
                build_go helm helm helm.sh/helm/v3/cmd/helm "-X $of.k8sVersionMajor=1 -X $of.k8sVersionMinor=${minor%%.*}"
                ;;
            coredns) build_go coredns coredns github.com/coredns/coredns ;;
            flanneld) build_go flanneld flannel github.com/flannel-io/flannel ;;
            *) build_go "$tool" kubernetes "k8s.io/kubernetes/cmd/$tool" "-X k8s.io/component-base/version.gitVersion=$k8s" ;;
        esac || without_kube "$tool could not be built (see above)" || break
    done
    exec 9>&-
}

missing_kube_tools() {
    for tool in etcd kube-apiserver kubectl kube-proxy flanneld coredns helm; do
        case " $provided " in *" $tool "*) continue ;; esac
        [ -x "$cache/$tool" ] || printf '%s ' "$tool"
    done
}

# build_go PROGRAM FOLDER PACKAGE [LDFLAGS]: exactly what go.mod and go.sum of the folder say; in place only when it is whole.
build_go() {
    step "$1" env GOTOOLCHAIN=local GOFLAGS='-mod=readonly -trimpath -buildvcs=false' \
        go build -C "scripts/kube-tools/$2" -ldflags "-s -w ${4:-}" -o "$cache/.$1.new" "$3" || { rm -f "$cache/.$1.new"; return 1; }
    mv "$cache/.$1.new" "$cache/$1"
}

go_is_new_enough() {
    found=$(GOTOOLCHAIN=local go env GOVERSION)
    [ "$(printf '%s\n' "go$kube_go" "$found" | sort -V | head -n 1)" = "go$kube_go" ]
}

without_kube() {
    printf '  - no Kubernetes: %s; tests that need a real API server will be skipped\n' "$1"
    return 1
}

# step WHAT COMMAND…: shows what runs and how long it took; its output only when it fails.
step() {
    what=$1
    shift
    log=$(mktemp)
    began=$(date +%s)
    if [ -t 1 ]; then
        "$@" >"$log" 2>&1 &
        job=$!
        while kill -0 $job 2>/dev/null; do
            printf '\r\033[2K  · %.60s … %s s' "$what" $(($(date +%s) - began))
            sleep 0.5
        done
        printf '\r\033[2K'
        wait $job
        result=$?
        job=
    else
        "$@" >"$log" 2>&1 </dev/null
        result=$?
    fi
    if [ $result = 0 ]; then mark=✓; else mark=✗; fi
    printf '  %s %-58s %5s s\n' "$mark" "$what" $(($(date +%s) - began))
    [ $result = 0 ] || tail -n 12 "$log" | sed 's/^/    /' >&2
    rm -f "$log"
    log=
    return $result
}

cleanup() {
    # A shell's background job does not hear Ctrl-C by itself.
    [ -z "$job" ] || kill "$job" 2>/dev/null
    [ -z "$policy" ] || rm -f "$policy"
    [ -z "$log" ] || rm -f "$log"
    [ -z "$scratch" ] || rm -rf "$scratch"
    policy=
    log=
    scratch=
}

# --- the kernel -------------------------------------------------------------------------------------------------------

# Tries what the lab builds on, in a namespace that goes with the process.
check_kernel() {
    unshare --net --mount true 2>/dev/null ||
        unfit "this system does not allow network namespaces (in a container: run it privileged)"
    # shellcheck disable=SC2016 # for the inner shell
    lacking=$(unshare --net --mount sh -c '
        try() { what=$1; shift; "$@" >/dev/null 2>&1 || printf "%s, " "$what"; }
        ip link set lo up
        try veth ip link add v0 type veth peer name v1
        try bridge ip link add b0 type bridge
        try vxlan ip link add x0 type vxlan id 1 dstport 4472
        try "/dev/net/tun" ip tuntap add t0 mode tun
        try "next-hop objects (Linux 5.3)" ip nexthop add id 1 blackhole
        try "policy routing" ip rule add pref 100 lookup 9027
        try "nf_tables with nat" nft "add table inet t; add chain inet t c { type nat hook postrouting priority 90; };
            add rule inet t c ct state new snat ip to ip saddr; add rule inet t c meta mark set meta mark or 0x40"
        try "iptables-legacy" iptables-legacy -t nat -A POSTROUTING -j MASQUERADE
        try "iptables-nft" iptables-nft -t nat -A POSTROUTING -j MASQUERADE')
    [ -z "$lacking" ] || unfit "this kernel ($(uname -r)) lacks: ${lacking%, }"
}

unfit() {
    printf 'raven: %s\n' "$*" >&2
    exit 2
}

main "$@"
