#!/bin/bash
# The Debian package for other releases: built, installed, looked at by systemd and lintian, removed, purged; each in a root
# file system of that release, made by mmdebstrap. Minutes for each; not a part of `make test`.
#
#   tools/releases.sh [RELEASE]...     trixie by default, and noble where $UBUNTU_MIRROR says where it is
#
# Debian comes from this machine's own package source; Ubuntu's key is in the package ubuntu-keyring. $RELEASE_ROOTS keeps
# the roots for the next time.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || { echo "releases: run this as root" >&2; exit 1; }

roots=${RELEASE_ROOTS:-$(mktemp -d)}
[ -n "${RELEASE_ROOTS:-}" ] || trap 'rm -rf --one-file-system "$roots"' EXIT
wanted=(systemd-sysv python3 python3-venv python3-dev debhelper build-essential libnetfilter-queue-dev lintian adduser
    iproute2 iptables ipset nftables kmod ca-certificates)

# What is done inside: any word of systemd's verify, an error of lintian's and a file that a purge leaves are failures.
inside='
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root
cd /src
tools/package.sh deb /src/dist
lintian --fail-on error,warning dist/*.deb
printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
dpkg -i dist/*.deb
dpkg --verify xfrmctl
xfrmctl --version
xfrmctl check
/usr/lib/xfrmctl/bin/python -I -c "import netfilterqueue, xfrmctl.daemon.main, xfrmctl.lab.app"
said=$(systemd-analyze verify --man=no xfrmctl.service 2>&1) && [ -z "$said" ] || { echo "verify: $said"; exit 1; }
systemd-analyze security --offline=true --threshold=25 --no-pager xfrmctl.service | tail -n 1
dpkg -P xfrmctl
left=$(find /etc /usr /var/lib /run -name "*xfrmctl*"; getent passwd xfrmctl || true)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
'

[ $# != 0 ] || set -- trixie ${UBUNTU_MIRROR:+noble}
for release; do
    case $release in
        noble) source="deb ${UBUNTU_MIRROR:?the URL of an Ubuntu archive} noble main universe" ;;
        *) source="deb $(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\?\([^ ]*\).*/\2/p' \
            $(compgen -G '/etc/apt/sources.list.d/*.sources' || echo /etc/apt/sources.list) | head -n 1) $release main" ;;
    esac
    root=$roots/$release
    echo "releases: $release"
    [ -e "$root/etc/os-release" ] || mmdebstrap --quiet --variant=minbase --mode=root \
        --include="$(IFS=,; echo "${wanted[*]}")" "$release" "$root" "$source"
    rm -rf "$root/src" && mkdir "$root/src"
    git archive HEAD | tar -x -C "$root/src"
    # The network as this machine has it: names, and what pip is told.
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf ${PIP_CERT:-}; do
        [ ! -e "$file" ] || install -D -m 0644 "$file" "$root$file"
    done
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) unshare --mount --pid --fork --kill-child sh -euc \
        'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" /bin/sh -c "$1"' "$root" "$inside"
    echo "releases: $release: ok"
done
