#!/bin/bash
# The whole product on machines with Debian's own kernel: package, box, five virtual machines, role, scenarios, reboot, upgrade.
#
#   tools/acceptance.sh              all of it; then everything that was started is ended, disks stay for the next run
#   tools/acceptance.sh --keep       a shell at the end, in which the machines are up: vagrant ssh gw-a, ./scenario NAME
#   tools/acceptance.sh --fresh      make the machines anew
#   SCENARIOS="nat reboot" tools/acceptance.sh    these scenarios only
#   XFRMCTL_PACKAGE=FILE tools/acceptance.sh      this package; otherwise one is built
#
# Root. It works in a container without KVM, systemd and a way out (then the machines are emulated, and it takes half an
# hour or more), for it runs in namespaces of its own: a libvirtd with its own state, networks that nobody else sees, and an
# end that takes every process along. What was made is kept in build/acceptance, so a run that was stopped goes on.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
place=$PWD/build/acceptance
PATH=$PWD/build/ansible/bin:$PATH:/usr/sbin:/sbin

say() { printf '== %s\n' "$*"; }
die() { printf 'acceptance: %s\n' "$*" >&2; exit 1; }

keep= fresh=
for word; do
    case $word in --keep) keep=yes ;; --fresh) fresh=yes ;; *) echo "usage: tools/acceptance.sh [--keep] [--fresh]" >&2; exit 2 ;; esac
done
[ "$(id -u)" = 0 ] || die "run this as root: it makes network namespaces and virtual machines"
for tool in vagrant libvirtd virsh qemu-system-x86_64 debootstrap ansible-playbook; do
    command -v $tool >/dev/null || die "$tool is missing; install with: tools/setup.sh acceptance"
done

summary() {
    local status=$?
    printf '\nacceptance, %s:\n' "$(date -u +%F)"
    sed 's/^/  /' "$place/results"
    if [ $status = 0 ]; then echo "  all of it holds"; else echo "  it FAILED; the logs are in $place"; fi
}
trap summary EXIT

step() { # name command...: told, timed, its output kept
    local name=$1 began=$SECONDS status
    shift
    say "$name"
    set +e # within a condition, a failing command of a function would not end it
    (set -e; "$@") > >(tee "$place/${name// /-}.log" | sed -u '/^==> .*:  -- /d; s/^/   /') 2>&1
    status=$?
    set -e
    if [ $status = 0 ]; then
        echo "ok    $name ($((SECONDS - began)) s)" >>"$place/results"
    else
        echo "FAIL  $name ($((SECONDS - began)) s)" >>"$place/results"
        return 1
    fi
}

# ---- what goes in: kept as long as what it is made of stays the same -------------------------------------------

hash_of() { git ls-files -z "$@" | xargs -0 sha256sum | sha256sum | cut -c1-16; }

deb=$place/package-$(hash_of xfrmctl packaging man docs pyproject.toml requirements.lock README.md CHANGELOG.md tools/package.sh)
box=$place/debian12-$(hash_of vagrant/box).box

package() {
    if [ -n "${XFRMCTL_PACKAGE:-}" ]; then
        rm -rf "$place"/package-*
        deb=$place/package-given
        install -D -t "$deb" "$XFRMCTL_PACKAGE"
    elif ! compgen -G "$deb/*.deb" >/dev/null; then
        rm -rf "$place"/package-*
        tools/package.sh deb "$deb"
    fi
    echo "$deb"/*.deb
}

box() {
    if [ ! -e "$box" ]; then
        rm -f "$place"/*.box
        vagrant/box/build libvirt "$box"
    fi
    du -h "$box"
}

if [ -z "${XFRMCTL_ACCEPTANCE:-}" ]; then
    mkdir -p "$place"
    exec 9>"$place/lock"
    flock -n 9 || die "another run is under way"
    rm -f "$place/results"
    step "package" package
    step "box" box
    trap - EXIT
    # The first process of the PID namespace is ours: when it ends, however, the kernel ends daemons and machines.
    exec nice -n 5 setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child=KILL --mount-proc \
        env XFRMCTL_ACCEPTANCE=1 bash "$PWD/tools/acceptance.sh" "$@"
fi

# ---- a libvirtd of our own -------------------------------------------------------------------------------------

libvirt() {
    ip link set lo up
    mount -t tmpfs -o mode=755 run /run
    mkdir -p /run/lock /run/libvirt
    local kind
    for kind in etc var/lib var/cache var/log; do
        mkdir -p "$place/libvirt/$kind" "/$kind/libvirt"
    done
    [ -e "$place/libvirt/etc/libvirtd.conf" ] || cp -r /etc/libvirt/. "$place/libvirt/etc/"
    # No polkit, which would want dbus; no virtlogd; and no control groups, security labels and namespaces, which a
    # container does not have.
    cat >"$place/libvirt/etc/libvirtd.conf" <<'EOF'
listen_tls = 0
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
EOF
    cat >"$place/libvirt/etc/qemu.conf" <<'EOF'
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
stdio_handler = "file"
namespaces = [ ]
cgroup_controllers = [ ]
EOF
    for kind in etc var/lib var/cache var/log; do
        mount --bind "$place/libvirt/$kind" "/$kind/libvirt"
    done
    libvirtd >"$place/libvirtd.log" 2>&1 9>&- &
    until virsh -q -c qemu:///system version >/dev/null 2>&1; do
        kill -0 $! 2>/dev/null || { tail "$place/libvirtd.log"; return 1; }
        sleep 0.3
    done
    if ! virsh -q -c qemu:///system pool-info lab >/dev/null 2>&1; then
        mkdir -p "$place/pool"
        virsh -q -c qemu:///system pool-define-as lab dir --target "$place/pool"
    fi
    virsh -q -c qemu:///system pool-start lab 2>/dev/null || true
    echo "libvirt $(virsh -c qemu:///system version --daemon | sed -n 's/Using library: libvirt //p'), $(qemu-system-x86_64 --version | head -n 1)"
}

export VAGRANT_HOME=$place/vagrant VAGRANT_DOTFILE_PATH=$place/machines VAGRANT_CHECKPOINT_DISABLE=1
export VAGRANT_DEFAULT_PROVIDER=libvirt LAB_EMULATED=1 LAB_POOL=lab LAB_BOX=xfrmctl/debian12 LAB_PATIENCE=5

machines() {
    cd vagrant
    # Another package may have the same version, and nobody would install it: so the machines are made anew for it.
    local made_for
    made_for="$box $(sha256sum <"$LAB_PACKAGE")"
    if [ "$fresh" ] || [ "$(cat "$place/machines-for" 2>/dev/null)" != "$made_for" ]; then
        vagrant destroy --force --no-tty || true
        vagrant box remove --force --all $LAB_BOX 2>/dev/null || true
        virsh -q -c qemu:///system vol-list lab | awk '/xfrmctl-VAGRANTSLASH/ {print $1}' | xargs -r -n1 virsh -q -c qemu:///system vol-delete --pool lab
        vagrant box add --no-tty --name $LAB_BOX "$box"
        echo "$made_for" >"$place/machines-for"
    fi
    vagrant up --no-tty --no-provision
}

provision() { # what node...: all at once
    local what=$1 node pids=()
    shift
    cd vagrant
    for node; do
        vagrant provision --no-tty --provision-with "$what" "$node" &
        pids+=($!)
    done
    for node in "${pids[@]}"; do wait "$node"; done
}

unchanged() { # a second run of the role changes nothing
    provision role gw-a gw-b | tee "$place/again"
    [ "$(grep -c 'changed=0 .*failed=0' "$place/again")" = 2 ]
}

system() { # what it all runs on
    (cd vagrant && vagrant ssh gw-a --no-tty -c 'uname -r; dpkg -s xfrmctl | grep ^Version; systemctl is-active xfrmctl
        lsmod | grep -E "^(esp4|esp6|xfrm_user|xfrm_interface|nf_tables|ip_set|nfnetlink_queue) "; sudo xfrmctl show')
}

play() { (cd vagrant && ./scenario "$1"); }

export LAB_PACKAGE=$(echo "$place"/package-*/*.deb)
box=$(echo "$place"/*.box)
step "libvirt" libvirt
step "machines" machines
step "network" provision network host-a gw-a router gw-b host-b
step "role" provision role gw-a gw-b
step "role again" unchanged
step "system" system
failed=
for name in ${SCENARIOS:-$(cd vagrant && ./scenario | cut -d' ' -f1)}; do
    step "scenario $name" play "$name" || failed=yes
done
if [ "$keep" ]; then
    say "the machines are up: vagrant ssh gw-a, ./scenario NAME; Ctrl-D ends them"
    (cd vagrant && bash -i) || true
fi
say "the machines are halted; their disks are kept in $place"
(cd vagrant && vagrant halt --force --no-tty) >/dev/null 2>&1 || true
[ -z "$failed" ]
