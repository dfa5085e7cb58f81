#!/bin/sh
# The sessions of a log of 64 MiB, and `grep -c 'Session\.'` over it, which only counts lines; at most three times its time
# is asked for. SESSIONS_MIB=1024 takes a log of another size. One line in 25 tells of a session.
# Run by bench/run.sh in an empty folder, with XENKIT and PAIR.
set -eu

awk -v bytes=$((${SESSIONS_MIB:-64} * 1048576)) 'BEGIN {
    srand(7)
    while (done < bytes) {
        n++
        second = int(n / 40)
        head = sprintf("Mar %2d %02d:%02d:%02d xen-one xapi: ", 1 + second / 86400 % 28, second / 3600 % 24, second / 60 % 60, second % 60)
        if (n % 50 == 0) {
            id = sprintf("%08x%08x%08x%08x", n, n * 7, n * 13, int(rand() * 4294967296))
            line = head "[ info||" n " HTTPS 10.0.0.5->:::80|session.login_with_password D:" substr(id, 1, 12) \
                "|xapi_session] Session.create trackid=" id " pool=false uname=root originator=o" n % 9 \
                " is_local_superuser=true auth_user_sid= parent=trackid=9834f5af41c964e225f24279aefe4e49"
        } else if (n % 50 == 25 && id != "")
            line = head "[ info||" n " HTTPS 10.0.0.5->:::80|session.logout D:" substr(id, 1, 12) "|xapi_session] Session.destroy trackid=" id
        else
            line = head "[debug||" n " HTTPS 10.0.0.5->:::80|dispatch:VM.get_all_records D:" n "|dispatcher] some words about what is " \
                "done with VM " n " of this pool"
        done += length(line) + 1
        print line
    }
}' >xensource.log

# To a file: grep stops at the first match when it writes to /dev/null.
# shellcheck disable=SC2089
count="grep -c 'Session\.' xensource.log >count"
"$PAIR" -n "${ROUNDS:-15}" -x 3 "xenkit pool sessions" "$XENKIT" pool sessions xensource.log -- \
    "grep -c 'Session\.'" sh -c "$count"
"$PAIR" -n "${ROUNDS:-5}" -x 3 "xenkit pool sessions --json" "$XENKIT" pool sessions --json xensource.log -- \
    "grep -c 'Session\.'" sh -c "$count"
