# The classic xe: our own client over the XenAPI, and the thin protocol of the simulated pool, which an independent client
# speaks and, where it is there, the real xe ($XENKIT_XE, or xe in the path). What two clients get has to be equal.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

HOME=$tmp/home XDG_STATE_HOME=$tmp/state
export HOME XDG_STATE_HOME
unset XE_EXTRA_ARGS XENKIT_PASSWORD_FILE XENKIT_POOL
mkdir "$HOME"
ln -s "$XENKIT" "$tmp/xe"
real=${XENKIT_XE:-$(command -v xe || :)}
start --log "$tmp/sim.log"
port=${url##*:}
count() {
    grep -c "Session\.$1 " "$tmp/sim.log" || :
}

xe() {
    "$tmp/xe" -s 127.0.0.1 -p "$port" -u root -pw xenkit "$@"
}
thin() {
    python3 "$XENKIT_SOURCE/src/rooms/api/thin-client.py" 127.0.0.1 "$port" "$@" username=root password=xenkit
}
real() {
    "$real" -s 127.0.0.1 -p "$port" -u root -pw xenkit "$@"
}
# same WORD…: all clients print the same and end the same
same() {
    xe "$@" >"$tmp/own.out" 2>"$tmp/own.err" </dev/null
    own=$?
    for other in ${others-thin} ${real:+real}; do
        $other "$@" >"$tmp/other.out" 2>"$tmp/other.err" </dev/null
        is "$other $*: status" "$?" "$own"
        ok "$other $*: output" cmp "$tmp/own.out" "$tmp/other.out"
        ok "$other $*: errors" cmp "$tmp/own.err" "$tmp/other.err"
    done
}
[ -n "$real" ] || skip "the real xe says the same" "xe is not here (XENKIT_XE names it)"

# ---- texts that are recorded from the real one's source ----

uuid=$(xe vm-list name-label=web-01 --minimal)
run xe vm-list name-label=web-01
check "a record: names are aligned" 0 "$(printf 'uuid ( RO)           : %s\n     name-label ( RW): web-01\n    power-state ( RO): running' "$uuid")"
is "two empty lines follow" "$(wc -l <"$out")" 5
run xe fly
check "an unknown command says so" 1 "" "Unknown command: fly
For usage run: 'xe help'"
run xe vm-start vm=nobody
check "nobody is chosen" 1 "" "Error: No matching VMs found"
run xe vm-start power-state=halted
check "several are chosen" 1 "" "Error: Multiple matches VMs found. --multiple required to complete the operation"
run xe vm-param-get uuid=none param-name=name-label
check "a uuid that is none" 1 "" "The uuid you supplied was invalid.
type: VM
uuid: none"
run "$tmp/xe" -s 127.0.0.1 -p "$port" -u root -pw wrong vm-list
check "a wrong password, also while a session is kept" 1 "" "Authentication failed
For usage run: 'xe help'"
run "$tmp/xe" -version
check "the version of the protocol" 0 "ThinCLI protocol: 0.2"
run "$tmp/xe"
check "the usage" 0 "" "~^  $tmp/xe <command>"
run "$tmp/xe" -s 127.0.0.1 -p 1 -u root -pw x vm-list
check "nobody listens" 1 "" "Error: Connection refused (calling connect )"

host=$(xe host-list name-label=host-1 --minimal)
run xe host-param-get uuid="$host" param-name=software-version
check "the host's software version" 0 '~product_version: '
run xe host-param-get uuid="$host" param-name=software-version param-key=product_version
is "and one of its keys" "$(cat "$out")" \
    "$(result host.get_software_version "$(login)" "$(result host.get_by_uuid "$(login)" "\"$host\"")" | jq -r .product_version)"

# ---- the same by all clients ----

for words in vm-list 'vm-list params=all' 'vm-list --minimal' 'vm-list --minimal params=name-label power-state=halted' \
    'host-list params=all' 'sr-list params=all' 'vdi-list params=all' 'vbd-list params=all' 'vif-list params=all' \
    'network-list params=all' 'pif-list params=all' 'pbd-list params=all' 'template-list' 'task-list' 'console-list' \
    'role-list' 'pool-list' 'message-list' 'snapshot-list' 'cd-list' 'sm-list' 'host-cpu-list' 'subject-list' 'secret-list' \
    help 'help --all' 'help --all --minimal' 'help vm-start host-disable sr-data-source-list vm-list fly' \
    'vm-list no-such=1' 'vm-list other-config:x=y' 'vm-param-list' "host-param-list uuid=$host" \
    "host-param-get uuid=$host param-name=none" 'vm-start uuid=' 'vm-list -z' 'uuid=1' 'vm-list minimal=maybe' \
    'vm-disk-list vm=web-01' 'vm-vif-list vm=web-01' 'vm-memory-set vm=app-01 memory=2x' 'event-wait class=none' \
    "vm-migrate vm=web-01" "vdi-copy uuid=none" 'pool-certificate-list' 'host-license-view' 'diagnostic-license-status'; do
    # shellcheck disable=SC2086
    same $words
done

# ---- fields are written ----

vm=$(xe vm-list name-label=app-01 --minimal)
run xe vm-param-set uuid="$vm" name-description='with, comma' other-config:key=value VCPUs-at-startup=1
check "fields are set" 0
run xe vm-list uuid="$vm" params=name-description --minimal
check "a comma is escaped" 0 'with\, comma'
run thin vm-param-get uuid="$vm" param-name=other-config param-key=key
check "a key of a map" 0 value
run xe vm-list other-config:key=value --minimal
check "it can be asked for" 0 "$vm"
run xe vm-param-remove uuid="$vm" param-name=other-config param-key=key
check "and removed" 0
run xe vm-param-remove uuid="$vm" param-name=other-config param-key=key
check "once" 1 "" "Error: Key key is not in map"
run xe vm-param-add uuid="$vm" param-name=tags param-key=t1
check "a member of a set is added" 0
run xe vm-list tags:contains=t1 --minimal
check "it can be asked for, too" 0 "$vm"
run xe vm-param-clear uuid="$vm" param-name=tags
check "all are removed" 0
run xe vm-list tags:contains=t1 --minimal
check "then none has it" 0
run xe vm-param-set uuid="$vm" power-state=halted
check "what is read-only stays" 1 "" "Error: Field 'power-state' is read-only."
run xe vm-param-set uuid="$vm" VCPUs-max=many
check "a number is wanted" 1 "" "Error: Failed to parse parameter 'VCPUs-max': expecting an integer"
run xe vm-param-set uuid="$vm" actions-after-reboot=fly
check "a word of an enum is wanted" 1 "" "Error: Expected one of 'destroy', 'restart', got fly"

# ---- what commands do ----

state() {
    xe vm-list uuid="$1" params=power-state --minimal
}
run thin vm-start uuid="$vm"
check "a VM starts" 0
is "it runs" "$(state "$vm")" running
run xe vm-start uuid="$vm"
check "it cannot start again: the sentence, the parameters by name" 1 "" "$(printf '%s\n' \
    "You attempted an operation on a VM that was not in an appropriate power state at the time; for example, you attempted to start a VM that was already running. The parameters returned are the VM's handle, and the expected and actual VM state at the time of the call." \
    "vm: $vm (app-01)" "expected: halted" "actual: running")"
run xe vm-pause uuid="$vm"
check "it pauses" 0
is "it is paused" "$(state "$vm")" paused
xe vm-unpause uuid="$vm"
run xe vm-suspend uuid="$vm"
check "it is suspended" 0
run thin vm-resume uuid="$vm"
check "and resumed" 0
run xe vm-reboot uuid="$vm" --force
check "it reboots" 0
run xe vm-shutdown uuid="$vm" --progress
check "it shuts down, with a bar" 0 "" '~%'
is "it is halted" "$(state "$vm")" halted
run xe vm-snapshot uuid="$vm" new-name-label=snap
check "a snapshot" 0 '~^[0-9a-f-]{36}$'
snap=$(cat "$out")
is "it is listed as one" "$(xe snapshot-list name-label=snap --minimal)" "$snap"
is "not as a VM" "$(xe vm-list name-label=snap --minimal)" ""
run xe snapshot-revert snapshot-uuid="$snap"
check "the VM goes back to it" 0
run xe vm-clone uuid="$vm" new-name-label=clone new-name-description=told
check "a clone" 0 '~^[0-9a-f-]{36}$'
clone=$(cat "$out")
is "with its description" "$(xe vm-param-get uuid="$clone" param-name=name-description)" told
run xe vm-uninstall uuid="$clone"
check "nobody says yes: nothing is removed" 1 - '~Lost connection to the server'
printf 'no\n' >"$tmp/answer"
thin vm-uninstall uuid="$clone" <"$tmp/answer" >"$tmp/no" 2>&1
like "somebody says no" "$(cat "$tmp/no")" "^Aborted \(you typed: 'no'\)$"
printf 'yes\n' >"$tmp/answer"
xe vm-uninstall uuid="$clone" <"$tmp/answer" >"$tmp/yes" 2>&1
is "somebody says yes" "$?" 0
like "all is told" "$(cat "$tmp/yes")" '^All objects destroyed$'
is "it is gone" "$(xe vm-list uuid="$clone" --minimal)" ""
run xe vm-install template="$(xe template-list params=name-label --minimal | cut -d, -f1)" new-name-label=fresh
check "a VM is installed" 0 '~^[0-9a-f-]{36}$'
sr=$(xe sr-list type=nfs --minimal)
run xe vdi-create sr-uuid="$sr" name-label=disk virtual-size=1GiB
check "a disk" 0 '~^[0-9a-f-]{36}$'
vdi=$(cat "$out")
is "of that size" "$(xe vdi-param-get uuid="$vdi" param-name=virtual-size)" 1073741824
run xe vbd-create vm-uuid="$vm" vdi-uuid="$vdi" device=3
check "is given to a VM" 0 '~^[0-9a-f-]{36}$'
run xe vbd-destroy uuid="$(cat "$out")"
check "and taken away" 0
run xe vdi-destroy uuid="$vdi"
check "and destroyed" 0
run xe network-create name-label=net
check "a network" 0 '~^[0-9a-f-]{36}$'
run xe network-destroy uuid="$(cat "$out")"
check "is destroyed" 0
run xe secret-create value=hidden
check "a secret" 0 '~^[0-9a-f-]{36}$'
run xe host-disable uuid="$host"
check "a host is disabled" 0
is "it says so" "$(xe host-param-get uuid="$host" param-name=enabled)" false
run xe host-enable uuid="$host"
check "and enabled" 0
run xe vm-migrate vm=web-01 host=host-2
check "a VM migrates" 0
is "it is there" "$(xe vm-param-get uuid="$(xe vm-list name-label=web-01 --minimal)" param-name=resident-on)" \
    "$(xe host-list name-label=host-2 --minimal)"
run xe message-create name=NEWS priority=3 body=text vm-uuid="$vm"
check "a message" 0
is "is listed" "$(xe message-list name=NEWS params=body --minimal)" text
(pause 0.3 && xe vm-start uuid="$vm") &
run timeout 60 "$tmp/xe" -s 127.0.0.1 -p "$port" -pw xenkit event-wait class=vm uuid="$vm" power-state=running
check "event-wait ends when it is so" 0
wait $! || :
run xe vm-shutdown --multiple --force power-state=halted name-label=desk-01
check "one that cannot be done" 1 "" '~appropriate power state'
run thin session_id=OpaqueRef:none vm-list
check "a session that is none" 1 "" '~^For usage|session'

run xe host-logs-download host=host-1 file-name="$tmp/logs"
check "logs are downloaded" 0 "" ""
like "whole" "$(gzip -dc "$tmp/logs" | tar t)" "xensource.log"
run xe audit-log-get filename="$tmp/audit"
check "the audit log, too" 0 "audit-log-get into file $tmp/audit succeeded" ""

# ---- options, files, the environment ----

printf 'root\nxenkit\n' >"$tmp/pwf"
run "$tmp/xe" -s 127.0.0.1 -p "$port" -pwf "$tmp/pwf" vm-list --minimal
check "-pwf" 0 '~,'
run "$tmp/xe" -pwf "$tmp/none" vm-list
check "a password file that is none" 1 "" "Error opening password file '$tmp/none'"
printf 'server=127.0.0.1\nport=%s\nusername=root\npassword=xenkit\n' "$port" >"$HOME/.xe"
run "$tmp/xe" vm-list name-label=web-01 params=name-label --minimal
check "the file .xe" 0 web-01
rm "$HOME/.xe"
run env XE_EXTRA_ARGS="server=127.0.0.1,port=$port,username=root,password=xenkit,params=name-label" \
    "$tmp/xe" vm-list name-label=web-01 --minimal
check "XE_EXTRA_ARGS" 0 web-01
run "$tmp/xe" -p 70000 vm-list
check "a port that is none" 0 "" '~^Port number must be an integer'
run xe --debug vm-list --minimal
check "--debug tells of the calls" 0 - '~VM.get_all_records_where'
run xe --debug-on-fail vm-list --minimal
check "--debug-on-fail says nothing when all is well" 0 -
run xe --debug-on-fail vm-list no=1
check "and all when it is not" 1 "" '~^Debug info:'
run xe vm-list no=1 --trace
check "--trace names the failure" 1 "" "Error: Unknown field 'no'
Raised Cli_util.Cli_failure(\"Unknown field 'no'\")
Backtrace:"
cat >listen.py <<'PYTHON'
import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
c = s.accept()[0]
head = b""
while b"\r\n\r\n" not in head:
    head += c.recv(4096)
print([line.split(": ", 1)[1] for line in head.decode().split("\r\n") if line.startswith(("traceparent: ", "baggage: "))], flush=True)
PYTHON
# heard ARGS…: with which context a call of xe with these options comes
heard() {
    rm -f heard
    python3 listen.py >heard &
    ear=$!
    until [ -s heard ]; do pause; done
    own=--no-session-cache
    [ -z "${client:-}" ] || own=--nossl
    "$@" "${client:-$tmp/xe}" -s 127.0.0.1 -p "$(sed -n 1p heard)" -u root -pw xenkit $own $trace vm-list >heard.xe 2>&1
    wait $ear
    sed -n 2p heard
}
trace=
is "calls have no context of tracing" "$(heard env)" "[]"
trace="--traceparent 00-1-2-3"
is "but that which is said" "$(heard env)" "['00-1-2-3']"
is "which the environment goes before" "$(heard env TRACEPARENT=00-4-5-6)" "['00-4-5-6']"
is "and what goes with it" "$(heard env BAGGAGE=k=v,l=w)" "['00-1-2-3', 'k=v,l=w']"
trace=
is "or without it" "$(heard env BAGGAGE=k=v)" "['k=v']"
[ -z "$real" ] || is "as from the real one" "$(client=$real heard env BAGGAGE=k=v TRACEPARENT=00-1-2-3)" "$(heard env BAGGAGE=k=v TRACEPARENT=00-1-2-3)"
run xe --traceparent "a
b: c" vm-list
check "what no header can have is refused" 1 "" '~traceparent'
BAGGAGE="a
b: c" run xe vm-list
check "from the environment, too" 1 "" '~BAGGAGE'
"$tmp/xe" -s 127.0.0.1 -p "$port" -u root -pw xenkit event-wait class=vm name-label=never &
waiter=$!
pause 0.3
nok "the password is not in the process list" grep -qa "pw.xenkit" "/proc/$waiter/cmdline"
kill $waiter
wait $waiter 2>/dev/null || :

# ---- sessions ----

before=$(count create)
for _ in 1 2 3; do
    xe vm-list --minimal >"$tmp/null"
done
is "three commands use one kept session" "$(($(count create) - before))" 0
is "which only its owner can read" "$(stat -c %a "$tmp"/state/xenkit/sessions/*.session | sort -u)" 600
before=$(count create) gone=$(count destroy)
xe --no-session-cache vm-list --minimal >"$tmp/null"
is "--no-session-cache logs in" "$(($(count create) - before))" 1
is "and out" "$(($(count destroy) - gone))" 1
before=$(count create) gone=$(count destroy)
thin vm-list >"$tmp/null"
thin vm-list no=1 >"$tmp/null" 2>&1
is "the thin protocol logs in for each command" "$(($(count create) - before))" 2
is "and out, also when that fails" "$(($(count destroy) - gone))" 2

# ---- completion ----

offered() {
    "$XENKIT" --complete -- xe "$@"
}
like "commands are offered" "$(offered vm-st)" '^vm-start$'
nok "hidden ones are not" grep -q . <<END
$(offered vm-memory-balloo)
END
like "parameters" "$(offered vbd-plug '')" '^uuid=$'
like "those that choose VMs" "$(offered vm-start power)" '^power-state=$'
is "columns" "$(offered vm-list params=name-label,pow)" params=name-label,power-state
is "fields" "$(offered vm-param-get uuid=x param-name=VCPUs-at)" param-name=VCPUs-at-startup
like "options" "$(offered --no)" '^--no-session-cache$'
is "names that the pool knows, by the kept session" \
    "$(offered -s 127.0.0.1 -p "$port" vm-start vm=web | head -1)" vm=web-01
is "none without one" "$(XDG_STATE_HOME=$tmp/nowhere offered -s 127.0.0.1 -p "$port" vm-start vm=web)" ""
is "bash: what stands before = is not said again" "$(bash --norc -c '
    xenkit() { "$XENKIT" "$@"; }
    . "$XENKIT_SOURCE/completions/xenkit.bash"
    COMP_LINE="xe vm-param-get uuid=x param-name=VCPUs-at" COMP_POINT=${#COMP_LINE}
    _xenkit_xe 2>/dev/null
    printf "%s\n" "${COMPREPLY[@]}"')" VCPUs-at-startup

# ---- blobs: the bytes go when the server has answered ----

blob=$(xe blob-create vm-uuid="$uuid" name=note mime-type=text/plain)
head -c 400000 "$XENKIT" >"$tmp/given"
same blob-get uuid="$blob" filename="$tmp/none-yet"
for client in xe thin ${real:+real}; do
    printf '%s' "$client" >>"$tmp/given"
    run "$client" blob-put uuid="$blob" filename="$tmp/given"
    check "$client: a blob is put" 0 "Blob put succeeded" ""
    for other in xe thin ${real:+real}; do
        run "$other" blob-get uuid="$blob" filename="$tmp/got.$client.$other"
        check "$other: it is got" 0 "Blob get succeeded" ""
        ok "with the same bytes" cmp "$tmp/given" "$tmp/got.$client.$other"
    done
done
# What goes wrong with a file, each client says in its own words.
others=
same blob-get uuid="$blob" filename="$tmp/got.xe.xe"
same blob-put uuid="$blob" filename="$tmp/not-there"
unset others
same blob-put uuid=none filename="$tmp/given"

# ---- hostile clients ----

head -c 250000 /dev/zero | tr '\0' a >"$tmp/large"
is "words of more than 200 KiB are refused" \
    "$(curl -s -o /dev/null -w '%{http_code}' --data-binary "@$tmp/large" "$url/cli")" 500
printf 'vm-list\n' >"$tmp/words"
python3 - "$port" <<'PY' >"$tmp/hostile" 2>&1
import socket, struct, sys
port = int(sys.argv[1])
def open_one(body=b"vm-list\nusername=root\npassword=xenkit"):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(b"POST /cli HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    return s
silent = [open_one() for _ in range(100)]            # never greet back
gone = [open_one() for _ in range(100)]
for s in gone:
    s.close()
bad = open_one()
bad.sendall(b"HTTP/1.1 400 what\r\n" + b"x" * 100)
print(len(bad.recv(100)))
print(bad.recv(100))
flood = open_one(b"vm-sysprep\nfilename=x\nvm=web-01\nusername=root\npassword=xenkit")
flood.settimeout(5)
flood.sendall(b"XenSource thin CLI protocol" + struct.pack("<II", 0, 2) + struct.pack("<I", 0xffffffff))
try:
    for _ in range(1000):
        flood.sendall(b"y" * 65536)
    print("took all")
except OSError:
    print("cut")
PY
is "a client that speaks something else is cut, one that floods, too" "$(tr '\n' ' ' <"$tmp/hostile")" "35 b'' cut "
run xe vm-list --minimal
check "the others are served" 0 '~,'
stop
is "the pool ends while clients hang on" "$sim_status" 0

# ---- TLS, and a slave ----

start --tls
port=${url##*:}
run env THIN_TLS=1 python3 "$XENKIT_SOURCE/src/rooms/api/thin-client.py" 127.0.0.1 "$port" vm-list --minimal \
    username=root password=xenkit
check "the thin protocol over TLS" 0 '~,'
run "$tmp/xe" -s 127.0.0.2 -p "$port" -u root -pw xenkit vm-list --minimal
check "our own client is led from a slave to its master" 0 '~,' -
run env THIN_TLS=1 python3 "$XENKIT_SOURCE/src/rooms/api/thin-client.py" 127.0.0.2 "$port" vm-list username=root password=xenkit
check "a slave names its master" 1 "" "$(printf '%s\n' \
    'You cannot make regular API calls directly on a supporter. Please pass API calls via the coordinator host.' \
    'Master IP address: 127.0.0.1')"
stop
done_testing
