#!/bin/bash
# Install what xfrmctl's lab or its tests need, and nothing that is there already. Safe to run as often as one likes.
#
#   tools/setup.sh lab     system packages of the lab, the virtual environment, and, where the running kernel
#                          has no ESP, what building the lab kernel takes
#   tools/setup.sh test    the same, plus strongSwan, libreswan, OpenIKED and BIRD (the foreign daemons of the
#                          interop tests), Prometheus and the test tools
#   tools/setup.sh acceptance   what builds the package, the box and the virtual machines of `make acceptance`
#
# Debian 12 and 13, Ubuntu 24.04. Runs as root, or through sudo where that asks no password or has a terminal.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

level=${1:-lab}
case $level in lab | test | acceptance) ;; *) echo "usage: tools/setup.sh lab|test|acceptance" >&2; exit 2 ;; esac

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "run this as root, or install sudo: the lab makes network namespaces and installs packages"
    as_root=(sudo)
fi

# ---- system packages ------------------------------------------------------------------------------------------

lab_packages=(iproute2 iptables ipset nftables tcpdump ethtool iputils-ping procps busybox kmod util-linux
    gcc libc6-dev libnetfilter-queue-dev)
kernel_packages=(gcc make flex bison bc libelf-dev libssl-dev xz-utils bzip2)
peer_packages=(charon-systemd strongswan-swanctl strongswan-pki libcharon-extra-plugins
    libstrongswan-extra-plugins libstrongswan-standard-plugins libnss3-tools)
deploy_packages=(mmdebstrap systemd-container openssh-client debhelper dpkg-dev gpg python3-venv python3-dev buildah)
page_packages=(mandoc)
machine_packages=(vagrant vagrant-libvirt libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils
    debootstrap fdisk e2fsprogs dnsmasq-base ebtables)
# libreswan conflicts with strongSwan; OpenIKED, BIRD and Prometheus would start at every boot, and of docker-compose only
# the schema of its files is read: the lab runs them from
# where their packages are unpacked, and only the libraries that they are linked with are installed.
unpacked_peers=(libreswan openiked bird2 prometheus tshark docker-compose)

missing() { # the packages among "$@" that are not installed
    local have
    have=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "$@" 2>/dev/null | sed -n 's/^ii *//p') || true
    printf '%s\n' "$@" | grep -vxF -f <(printf '%s\n' "$have") || true
}

updated=
refresh_index() {
    [ -z "$updated" ] || return 0
    say "reading the package index"
    "${as_root[@]}" apt-get -qq -o Acquire::Retries=3 update
    updated=yes
}

install_packages() { # why package...
    local why=$1 wanted policy=/usr/sbin/policy-rc.d made_policy=
    shift
    mapfile -t wanted < <(missing "$@")
    [ "${#wanted[@]}" != 0 ] || return 0
    refresh_index
    say "installing for $why: ${wanted[*]}"
    # No package may start a service of its own: a daemon on UDP 500 would answer in the tests' place.
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
        "${as_root[@]}" chmod 755 $policy
        made_policy=yes
    fi
    local status=0
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -y \
        -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 --no-install-recommends install "${wanted[@]}" >/tmp/xfrmctl-setup.$$ 2>&1 </dev/null ||
        status=$?
    [ -z "$made_policy" ] || "${as_root[@]}" rm -f $policy
    if [ $status != 0 ]; then
        tail -n 25 /tmp/xfrmctl-setup.$$ >&2
        die "apt-get install failed (status $status); the whole log is /tmp/xfrmctl-setup.$$"
    fi
    rm -f /tmp/xfrmctl-setup.$$
}

unpack_peer() { # package: into build/peers/package, with its libraries
    local name=$1 place=build/peers/$1 libraries
    if [ ! -e "$place" ]; then
        refresh_index
        say "unpacking $name"
        rm -rf "$place".part && mkdir -p "$place".part
        (cd "$place".part && apt-get -qq -o Acquire::Retries=3 download "$name" 2>/dev/null) ||
            die "no package $name among the configured package sources"
        dpkg-deb -f "$place".part/*.deb Version >"$place".part/version
        # The alternatives of a dependency and its versions do not matter here: those of this distribution's release.
        dpkg-deb -f "$place".part/*.deb Depends | tr ',' '\n' | sed -n '/^ *libjs-/d; s/^ *\(lib[^ ]*\).*/\1/p' >"$place".part/libraries
        dpkg -x "$place".part/*.deb "$place".part
        rm "$place".part/*.deb
        mv "$place".part "$place"
    fi
    mapfile -t libraries <"$place"/libraries
    [ ${#libraries[@]} = 0 ] || install_packages "$name" "${libraries[@]}"
}

kernel_has_esp() { # as root: the same question as xfrmctl/lab/kernel/native.py asks
    "${as_root[@]}" unshare --net sh -c '
        ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel \
            aead "rfc4106(gcm(aes))" 0x000102030405060708090a0b0c0d0e0f10111213 128 &&
        ip link add probe0 type xfrm if_id 1' >/dev/null 2>&1
}

has_candidate() { # package
    [ -n "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9].*\)/\1/p')" ]
}

kernel_source_package() { # Debian names the version in the package; Ubuntu has one without
    local name
    for name in linux-source-6.12 linux-source; do
        if has_candidate "$name"; then
            echo "$name"
            return 0
        fi
    done
    return 1
}

install_packages "the lab" "${lab_packages[@]}"

if [ "$level" != acceptance ] && ! kernel_has_esp; then
    if ! compgen -G '/usr/src/linux-source-*.tar.*' >/dev/null && ! compgen -G '/usr/src/linux-source-*/*.tar.*' >/dev/null; then
        say "this machine's kernel has no ESP: the lab kernel will be built from the distribution's source"
        refresh_index
        source_package=$(kernel_source_package) || die "no linux-source package among the configured package sources"
        kernel_packages+=("$source_package")
    fi
    install_packages "the lab kernel" "${kernel_packages[@]}"
fi

if [ "$level" = test ]; then
    had_charon=$(missing charon-systemd)
    install_packages "the interop tests" "${peer_packages[@]}"
    # On a machine that runs systemd the package also enables the service for the next boot.
    if [ -n "$had_charon" ] && [ -d /run/systemd/system ]; then
        "${as_root[@]}" systemctl disable --quiet strongswan.service 2>/dev/null || true
    fi
    install_packages "the deployment tests" "${deploy_packages[@]}"
    install_packages "the tests of pages" "${page_packages[@]}"
    # Ubuntu's Chromium is a snap: there the tests in a browser are left out, and say so.
    if [ -z "$(command -v chromium)" ] && has_candidate chromium-headless-shell; then
        install_packages "the tests in a browser" chromium-headless-shell
    fi
    for name in "${unpacked_peers[@]}"; do
        unpack_peer "$name"
    done
fi

if [ "$level" = acceptance ]; then
    install_packages "the package" "${deploy_packages[@]}"
    install_packages "the virtual machines" "${machine_packages[@]}"
fi

# ---- the virtual environment ----------------------------------------------------------------------------------

python=
for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v $candidate >/dev/null && $candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    install_packages "Python" python3 python3-venv
    python=python3
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed"
fi
if [ ! -x .venv/bin/python ] && ! $python -c 'import ensurepip' 2>/dev/null; then
    install_packages "the virtual environment" python3-venv
fi
# NetfilterQueue is compiled against this Python.
if ! $python -c 'import os, sysconfig; exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; then
    install_packages "the ICMP guard" python3-dev
fi

extras='[guard]'
[ "$level" != test ] || extras='[test]'
# One stamp per level: what the environment was made from.
stamp=.venv/.setup-$level
want=$({ sed '/^\[tool\./,$d' pyproject.toml; cat requirements.lock 2>/dev/null || true; } | sha256sum | cut -c1-32)
if [ ! -x .venv/bin/python ] || [ "$(cat $stamp 2>/dev/null)" != "$want" ]; then
    if [ ! -x .venv/bin/python ]; then
        say "making the virtual environment .venv"
        $python -m venv .venv
    fi
    say "installing the Python packages"
    constraints=()
    [ ! -e requirements.lock ] || constraints=(-c requirements.lock)
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-input "${constraints[@]}" -e ".$extras"
    echo "$want" >$stamp
    [ "$level" = lab ] || echo "$want" >.venv/.setup-lab
fi

if [ "$level" != lab ]; then
    # Ansible is no library of ours: it has an environment of its own.
    lock=tests/deploy/ansible.lock
    want=$(sha256sum <$lock)
    if [ "$(cat build/ansible/.setup 2>/dev/null)" != "$want" ]; then
        say "installing Ansible into build/ansible"
        rm -rf build/ansible
        .venv/bin/python -m venv build/ansible
        build/ansible/bin/python -m pip install -q --disable-pip-version-check --no-input -r $lock
        echo "$want" >build/ansible/.setup
    fi
fi
