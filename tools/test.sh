#!/bin/bash
# All checks and tests, or one part of them: tools/test.sh [quick|lint|host|deploy|lab]. The environment is set up already.
# Every part runs even when an earlier one failed; the exit status is 1 if any did.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
bin=.venv/bin
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo --preserve-env=CI,XDG_CACHE_HOME,HOME)
failed=()
results=build/test-results
mkdir -p $results

part() { # name command...
    local name=$1 began=$SECONDS
    shift
    printf '== %s\n' "$name"
    if "$@"; then
        printf '== %s: ok (%s s)\n' "$name" $((SECONDS - began))
    else
        printf '== %s: FAILED (%s s)\n' "$name" $((SECONDS - began))
        failed+=("$name")
        return 1
    fi
}

lint() {
    part "ruff" $bin/ruff check --quiet .
    part "ruff format" $bin/ruff format --check --quiet .
    part "mypy" $bin/mypy --no-error-summary
    part "imports" $bin/lint-imports
    part "codespell" $bin/codespell xfrmctl tests bench tools docs deploy ansible Makefile .ci pyproject.toml
    part "ansible-lint" ansible_lint
}

ansible_lint() { # it knows a collection by where it is
    local home=$PWD/build/ansible-home
    mkdir -p "$home/ansible_collections/xfrmctl"
    ln -sfn "$PWD/ansible" "$home/ansible_collections/xfrmctl/gateway"
    (cd ansible && PATH=$PWD/../build/ansible/bin:$PATH ANSIBLE_HOME=$home ANSIBLE_COLLECTIONS_PATH=$home \
        ansible-lint --offline --nocolor -q --profile production .)
}

host() { # workers
    part "tests without ESP" $bin/python -m pytest -q -m "not lab and not deploy" -n "$1" --dist worksteal --junitxml $results/host.junit.xml
}

deploy() {
    part "tests of what is deployed" "${as_root[@]}" $bin/python -m pytest -q -m deploy --junitxml $results/deploy.junit.xml tests/deploy
}

lab() { # options
    part "tests with real ESP" "${as_root[@]}" $bin/python tools/lab_tests.py "$@"
}

first_tunnel() { # the tests with real ESP of what everything else stands on
    local name
    for name in daemon interop_failures interop_strongswan kernel_{clamps,disturbed,planes,sad,scale,sockets} \
        lab_{demo,direct,static,strongswan,topology} never_in_clear ownership scale; do
        echo tests/lab/test_$name.py
    done
}

without_esp() {
    host 0
    deploy
}

side_by_side() { # command file...: the command's tests are one process, so the lab has one place less until they are over
    local command=$1
    shift
    (failed=(); $command; [ ${#failed[@]} = 0 ]) >$results/host.log 2>&1 &
    lab --beside $! "$@"
    wait $! || failed+=("tests beside the lab")
    cat $results/host.log
}

case ${1:-all} in
    quick) lint; mapfile -t files < <(first_tunnel); side_by_side "host 0" "${files[@]}" ;;
    lint) lint ;;
    host) host auto ;;
    deploy) deploy ;;
    lab) lab ;;
    all)
        part "lab kernel" "${as_root[@]}" $bin/python -m xfrmctl.lab build
        lint; side_by_side without_esp ;;
    *) echo "usage: tools/test.sh [quick|lint|host|deploy|lab]" >&2; exit 2 ;;
esac

if [ ${#failed[@]} != 0 ]; then
    printf '== FAILED: %s\n' "${failed[*]}"
    exit 1
fi
printf '== all ok (%s s)\n' "$SECONDS"
