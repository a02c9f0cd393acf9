#!/bin/bash
# Build what is installed elsewhere, into dist/ or another directory:
#
#   tools/package.sh wheel [DIRECTORY]    a wheel
#   tools/package.sh wheels [DIRECTORY]   an archive of it and all wheels that it needs, for machines without an index
#   tools/package.sh deb [DIRECTORY]      a Debian package for the release that this machine runs (Debian 12, 13, Ubuntu 24.04)
#   tools/package.sh oci [DIRECTORY]      an OCI image (oci-archive) with that package, by buildah: no daemon, no registry;
#                                         $OCI_BASE is a root file system to start from, else mmdebstrap makes one;
#                                         $XFRMCTL_PACKAGE is a package that is built already
#
# The package brings its Python libraries along, at the versions of requirements.lock; they are fetched here, once,
# into build/wheels, and the build itself needs no network. Two builds of one commit give the same bytes.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

PATH=/usr/sbin:/usr/bin:/sbin:/bin # the distribution's Python, not another that stands before it
python=/usr/bin/python3
out=${2:-dist}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' xfrmctl/__init__.py)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH=$epoch PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONHASHSEED=0
export LC_ALL=C.UTF-8 TZ=UTC
umask 022

say() { printf 'package: %s\n' "$*"; }
die() { printf 'package: %s\n' "$*" >&2; exit 1; }

sources() { # where: what a build is made from, and nothing that lies about beside it
    mkdir -p "$1"
    tar -c --mtime=@$epoch --exclude-vcs --exclude=__pycache__ --exclude='*.egg-info' \
        xfrmctl pyproject.toml requirements.lock README.md CHANGELOG.md LICENSE docs $(ls -d man 2>/dev/null) | tar -x -C "$1"
}

shopt -s nullglob
pip=(/usr/share/python-wheels/pip-*.whl) # of python3-venv: no environment is needed to run it
[ ${#pip[@]} != 0 ] || die "python3-venv is not installed (tools/setup.sh test installs it)"
pip=("$python" "${pip[-1]}/pip")

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

collect() { # all that the package brings along, as wheels of this Python, and what builds a wheel
    local want
    want=$({ $python -VV; uname -m; cat pyproject.toml requirements.lock; } | sha256sum | cut -c1-16)
    wheels=$PWD/build/package/wheels-$want
    [ ! -d "$wheels" ] || return 0
    say "collecting the Python libraries"
    rm -rf "$wheels.part"
    sources "$scratch/collect"
    "${pip[@]}" download -qq --no-deps -c requirements.lock -d "$wheels.part/builders" setuptools
    # Debugging information would name the directory of the build; nothing reads it.
    CFLAGS="-O2 -g0 -ffile-prefix-map=$scratch=." \
        "${pip[@]}" wheel -qq -c requirements.lock -w "$wheels.part" "$scratch/collect[guard]"
    rm -rf "$wheels.part"/xfrmctl-*.whl
    mv "$wheels.part" "$wheels"
}

wheel() { # where
    mkdir -p "$1"
    sources "$scratch/wheel"
    PIP_NO_INDEX=1 PIP_FIND_LINKS=$wheels/builders "${pip[@]}" wheel -qq --no-deps -w "$1" "$scratch/wheel"
}

wheels() { # where: for the Python and the architecture of this machine
    wheel "$1"
    cp "$wheels"/*.whl "$1/"
    tar -c --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rw,go=r --mtime="@$epoch" \
        -C "$1" -f "$1/xfrmctl-$version-wheels.tar" $(cd "$1" && echo *.whl)
}

deliver() { # file...
    mkdir -p "$out"
    cp "$@" "$out/"
    for file; do say "$out/$(basename "$file")"; done
}

deb() {
    command -v dpkg-buildpackage dh >/dev/null || die "debhelper is not installed (tools/setup.sh test installs it)"
    . /etc/os-release
    local package_version="$version-1~$ID${VERSION_ID:-}" tree=$scratch/xfrmctl-$version log=$PWD/build/package/deb.log
    sources "$tree"
    mkdir "$tree/wheels"
    cp "$wheels"/*.whl "$tree/wheels"
    wheel "$tree/wheels"
    cp -r packaging/debian "$tree/debian"
    cp packaging/systemd/xfrmctl.service packaging/systemd/xfrmctl.tmpfiles "$tree/debian/"
    cp packaging/systemd/xfrmctl-boot.service "$tree/debian/xfrmctl.xfrmctl-boot.service"
    cp packaging/xfrmctl.yaml "$tree/"
    printf 'xfrmctl (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- The xfrmctl project <xfrmctl@localhost>  %s\n' \
        "$package_version" "$(date -u -R -d "@$epoch")" >"$tree/debian/changelog"
    say "building xfrmctl $package_version"
    mkdir -p build/package
    (cd "$tree" && dpkg-buildpackage -b -us -uc -ui) >"$log" 2>&1 || { tail -n 40 "$log" >&2; die "the build failed: $log"; }
    deliver "$scratch"/xfrmctl_*.deb
}

oci() {
    command -v buildah >/dev/null || die "buildah is not installed (tools/setup.sh test installs it)"
    local root=${OCI_BASE:-$scratch/root} context=$scratch/context archive=$scratch/made/xfrmctl_$version.oci.tar
    mkdir -p "$context" "$scratch/made"
    if [ -n "${XFRMCTL_PACKAGE:-}" ]; then cp "$XFRMCTL_PACKAGE" "$context/"; else (out=$context; deb); fi
    . /etc/os-release
    if [ -z "${OCI_BASE:-}" ]; then
        say "making a base image of $PRETTY_NAME"
        mmdebstrap --quiet --variant=minbase "$VERSION_CODENAME" "$root" \
            $(compgen -G '/etc/apt/sources.list.d/*.sources' || compgen -G '/etc/apt/sources.list')
    fi
    # Storage of its own, and no namespaces but a chroot's: it works in a container and without systemd. Where overlays can
    # be mounted, nothing is copied.
    local driver=vfs base
    mkdir -p "$scratch"/overlay/{lower,upper,work,merged}
    if (cd "$scratch/overlay" && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged) 2>/dev/null; then
        umount "$scratch/overlay/merged"
        driver=overlay
    fi
    local store=(--root "$scratch/store" --runroot "$scratch/run" --storage-driver $driver)
    base=$(buildah "${store[@]}" from scratch)
    buildah "${store[@]}" add -q "$base" "$root" / >/dev/null
    buildah "${store[@]}" commit -q "$base" localhost/base >/dev/null
    say "building the image"
    buildah "${store[@]}" bud -q --isolation chroot --network host --build-arg BASE=localhost/base --timestamp "$epoch" \
        -f packaging/oci/Containerfile -t localhost/xfrmctl:"$version" "$context" >/dev/null
    buildah "${store[@]}" push -q localhost/xfrmctl:"$version" oci-archive:"$archive":xfrmctl:"$version"
    deliver "$archive"
}

collect
case ${1:-} in
    wheel) wheel "$scratch/made"; deliver "$scratch"/made/*.whl ;;
    wheels) wheels "$scratch/made"; deliver "$scratch"/made/*.tar ;;
    deb) deb ;;
    oci) oci ;;
    *) echo "usage: tools/package.sh wheel|wheels|deb|oci [DIRECTORY]" >&2; exit 2 ;;
esac
