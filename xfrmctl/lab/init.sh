#!/bin/bash
# PID 1 of the lab kernel. Its root file system is the host's own (hostfs); what must not be shared with the host
# or with a second guest is covered with tmpfs. `labdir` comes from the kernel's command line: the directory that
# carries the job in and its exit status out.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -sf /proc/self/fd /dev/fd; ln -sf fd/0 /dev/stdin; ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
ln -sf pts/ptmx /dev/ptmx

finish() { # the rename makes the status all or nothing
    echo "$1" >"$labdir/status.new" && mv "$labdir/status.new" "$labdir/status"
    sync
    busybox poweroff -f
}

if [ "$labmode" = terminal ]; then
    setsid --ctty --wait bash "$labdir/job.sh" </dev/tty0 >/dev/tty0 2>&1
    finish $?
fi

# Consoles 1 and 2 are the job's standard output and error, byte for byte. The job itself sees pipes, as it would
# below any other program that reads its output.
raw() { stty -F "$1" raw -opost -echo; }
raw /dev/tty1; raw /dev/tty2
mkfifo /dev/shm/.out /dev/shm/.err
cat /dev/shm/.out >/dev/tty1 & out=$!
cat /dev/shm/.err >/dev/tty2 & err=$!
bash "$labdir/job.sh" </dev/null >/dev/shm/.out 2>/dev/shm/.err
code=$?
# A daemon that the job left behind keeps the pipes open; it gets no more than this long.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 $out 2>/dev/null || kill -0 $err 2>/dev/null || break
    sleep 0.05
done
raw /dev/tty1; raw /dev/tty2 # waits until the last byte is out
finish $code
