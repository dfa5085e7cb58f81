# A pool out of a dump: JSON of all records, and the XML database of a XenServer host.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

classes="VM VM_metrics VM_guest_metrics VBD VIF VDI SR PBD PIF PIF_metrics network host host_metrics pool console task message"
# dump FILE: every record, as `{"VM": {REF: RECORD}}`, sets in one order, without the hosts' heartbeats
dump() {
    session=$(login)
    for class in $classes; do
        # shellcheck disable=SC2086
        curl -s $curl "$url/jsonrpc" -d "{\"id\":\"$class\",\"method\":\"$class.get_all_records\",\"params\":[$session]}"
    done | jq -cs 'map({(.id): .result}) | add | del(.host_metrics[].last_updated) | walk(if type == "array" then sort else . end)' >"$1"
}
curl=

start --hosts 3 --vms 12
session=$(login)
pool=$(result pool.get_all "$session" | jq '.[0]')
odd="it's (\\\"quoted\\\") 100%% %.  two blanks\\ttab\\nline \\\\ back <&> ü"
call pool.set_name_description "$session" "$pool" "\"$odd\"" >/dev/null
call pool.add_to_other_config "$session" "$pool" '"a key"' "\"$odd\"" >/dev/null
call pool.add_tags "$session" "$pool" "\"$odd\"" >/dev/null
is "a tag with everything in it" "$(result pool.get_tags "$session" "$pool")" "[\"$odd\"]"
dump plain.json
stop
jq -c '{xenkit_dump: 1, source: {url: "x", at: [1, {}]}, classes: .}' plain.json >wrapped.json

# What our own client dumps, over HTTPS and with the fingerprint that was printed.
start --load plain.json --tls
printf 'xenkit\n' >password
run xenkit api dump --no-session-cache --cert-sha256 "$(head -n 1 "$tmp/sim.out" | cut -f 3)" --password-file password "$url"
check "xenkit api dump" 0 -
cp "$out" dumped.json
curl=-k
dump want-dumped.json
curl=
stop
cp plain.json want-plain.json
cp plain.json want-wrapped.json

for form in plain wrapped dumped; do
    start --load $form.json
    is "$form: nothing was left out" "$(cat "$tmp/sim.err")" ""
    is "$form: as many hosts as in the dump" "$(grep -c slave "$tmp/sim.out")" 2
    dump again.json
    ok "$form: every record is as it was" cmp want-$form.json again.json
    stop
done

# The same as the server's database has it: names of paths, texts protected, sets and maps as S-expressions, and
# nothing of what is the other end of a ref.
cat >xml.jq <<'JQ'
def escape: gsub("\\\\"; "\\\\") | gsub("'"; "\\'");
def quote: "'" + (tostring | escape) + "'";
def text:
  if type == "array" then (if length > 0 and (.[0] | tostring | startswith("OpaqueRef:")) then "()" else "(" + (map(quote) | join(" ")) + ")" end)
  elif type == "object" then "(" + (to_entries | map("(" + (.key | quote) + " " + (.value | quote) + ")") | join(" ")) + ")"
  else tostring end;
def protect: gsub("%"; "%%") | gsub(" "; "%.") | gsub("\t"; "%t") | gsub("\n"; "%n") | gsub("\r"; "%r");
def name: sub("^(?<a>name|memory|VCPUs|actions|HVM|PV|API_version|snapshot|os)_(?=[a-z])"; "\(.a)__");
"<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
"<database><manifest><pair key=\"schema_major_vsn\" value=\"5\"/><pair key=\"schema_minor_vsn\" value=\"791\"/><pair key=\"generation_count\" value=\"123456\"/></manifest>",
(to_entries[] | .key as $class |
  "<table name=\"\($class)\">" + (.value | to_entries | map("<row ref=\"\(.key)\" __ctime=\"1\" __mtime=\"2\" _ref=\"\(.key)\" " +
    (.value | to_entries | map("\(.key | name)=\"\(.value | text | protect | @html)\"") | join(" ")) + "/>") | join("")) + "</table>"),
"</database>"
JQ
jq -r -f xml.jq plain.json >xapi-db.xml
start --load xapi-db.xml --tls
curl=-k
is "a database: nothing was left out" "$(cat "$tmp/sim.err")" ""
classes="VM VM_metrics VM_guest_metrics VBD VIF VDI SR PBD PIF PIF_metrics network host_metrics pool console"
dump again.json
jq -cS "{$(echo "$classes" | tr ' ' ',')}" plain.json >want.json
jq -cS . again.json >got.json
ok "every record is as it was, with both ends of its relations" cmp want.json got.json
session=$(login)
vm=$(result VM.get_all_records "$session" | jq 'to_entries | map(select(.value.power_state == "Halted" and (.value.is_a_template | not))) | .[0].key')
call VM.start "$session" "$vm" false false >/dev/null
is "its VMs start" "$(result VM.get_power_state "$session" "$vm")" '"Running"'
stop
curl=

# ---- our own database, as a real server gives its ----

start --hosts 2 --vms 5
session=$(login)
vm=$(result VM.get_all_records "$session" | jq 'to_entries | map(select(.value.is_a_template | not)) | .[0].key')
call VM.set_name_label "$session" "$vm" '"a \"name\" <&> with %.blanks\tand '"'"'quotes'"'"' \\ \u00fc"' >/dev/null
call VM.set_other_config "$session" "$vm" '{"k e y": "it'"'"'s (a) \\ %n", "": ""}' >/dev/null
call VM.set_tags "$session" "$vm" '["one two", "three"]' >/dev/null
is "who may not has no database" "$(status "$url/pool/xmldbdump")" 401
curl -s -u root:xenkit "$url/pool/xmldbdump" >own.xml
dump want.json
stop
is "it names its fields by their paths" "$(grep -o ' memory__static_max="[0-9]*"' own.xml | wc -l) $(grep -c ' name__label="' own.xml)" \
    "$(jq '.VM | length' want.json) 1"
nok "and holds no session" grep -q 'trackid\|<table name="session"><row' own.xml
start --load own.xml
is "nothing of it is left out" "$(grep -v ' before, is at' "$tmp/sim.err")" ""
dump got.json
stop
jq -cS 'del(.session, .task, .message, .role, .user)' want.json >want-own.json
jq -cS 'del(.session, .task, .message, .role, .user)' got.json >got-own.json
ok "loaded, every record is as it was" cmp want-own.json got-own.json

# ---- what does not fit ----

cat >odd.json <<'JSON'
{"VM": {"OpaqueRef:vm": {"uuid": "u-1", "name_label": "one", "power_state": "Sleeping", "VBDs": ["OpaqueRef:gone", "OpaqueRef:vbd"],
        "memory_static_max": "1073741824", "VCPUs_max": [], "is_a_template": false, "new_field": 1, "snapshot_time": "2026-01-02T03:04:05Z"},
        "OpaqueRef:NULL": {}, "a ref that is much longer than any reference of a server can ever be": {}},
 "VBD": {"OpaqueRef:vbd": {"VM": "OpaqueRef:vm", "VDI": "OpaqueRef:nowhere"}},
 "session": {"OpaqueRef:s": {"uuid": "x"}},
 "Future": {"OpaqueRef:f": {}},
 "host": {"OpaqueRef:h1": {"name_label": "alpha", "address": "10.0.0.1"}, "OpaqueRef:h2": {"name_label": "beta", "address": "10.0.0.2"}},
 "pool": {"OpaqueRef:p": {"master": "OpaqueRef:h2"}}}
JSON
start --load odd.json
is "what was left out is said" "$(sort "$tmp/sim.err")" "$(sort <<'TEXT'
xenkit: 2 classes or fields are not known, and left out: VM.new_field, Future
xenkit: 2 objects of classes that are not kept (sessions, unknown ones) are left out
xenkit: 1 values are not of their type; the defaults stand
xenkit: 1 values are words that this data model does not know; they stay
xenkit: 2 objects have a ref that cannot be, and are left out
xenkit: host beta, 10.0.0.2 before, is at 127.0.0.1
xenkit: host alpha, 10.0.0.1 before, is at 127.0.0.2
TEXT
)"
session=$(login)
is "the master has the first address" "$(result host.get_name_label "$session" "$(result pool.get_all_records "$session" | jq '.[].master')")" '"beta"'
is "a slave names its" "$(ask "$slave" VM.get_all "$session" | jq -c '.error.data')" '["127.0.0.1"]'
is "the record is there" "$(result VM.get_record "$session" '"OpaqueRef:vm"' |
    jq -c '[.uuid, .name_label, .power_state, .memory_static_max, .VCPUs_max, .snapshot_time]')" \
    '["u-1","one","Sleeping",1073741824,0,"20260102T03:04:05Z"]'
is "refs that lead nowhere stay" "$(result VM.get_VBDs "$session" '"OpaqueRef:vm"') $(result VBD.get_VDI "$session" '"OpaqueRef:vbd"')" \
    '["OpaqueRef:gone","OpaqueRef:vbd"] "OpaqueRef:nowhere"'
stop
echo '{"network": {"OpaqueRef:n": {"name_label": "alone"}}}' >part.json
start --load part.json --state kept
like "a host is made up where there is none" "$(cat "$tmp/sim.err")" 'no host: one was made up'
session=$(login)
call network.set_name_label "$session" '"OpaqueRef:n"' '"changed"' >/dev/null
stop
start --state kept
is "a loaded pool can be kept" "$(session=$(login); result network.get_name_label "$session" '"OpaqueRef:n"')" '"changed"'
stop
run xenkit sim --state kept --load part.json
check "but not loaded twice" 6 "" "~there is a pool in it already"
run xenkit sim --load part.json --vms 3
check "VMs are those of the dump" 2 "" "~says the dump"
run xenkit sim --load part.json --hosts 2
check "hosts, too" 2 "" "~1 hosts, not 2"

# bad NAME STATUS PATTERN CONTENT: what printf makes of that cannot be loaded
bad() {
    # shellcheck disable=SC2059
    printf "$4" >bad
    run xenkit sim --load bad
    check "$1" "$2" "" "~$3"
}
bad "an empty file" 5 "neither JSON nor the XML" ''
bad "another file" 5 "neither JSON nor the XML" 'PK'
bad "no objects" 5 "no object of a XenServer pool" '{}'
bad "another format" 3 "another format than 1" '{"xenkit_dump": 2, "classes": {}}'
bad "a file that ends early" 5 "at byte" '{"VM": {"OpaqueRef:a": {"name_label": "x"'
bad "half a character" 5 "half a surrogate pair" '{"VM": {"OpaqueRef:a": {"name_label": "\\ud800"}}}'
bad "a NUL" 5 "a NUL in a text" '{"VM": {"OpaqueRef:a": {"name_label": "\\u0000"}}}'
bad "no UTF-8" 5 "no UTF-8" '{"VM": {"OpaqueRef:a": {"name_label": "\377"}}}'
bad "depth" 5 "nested too deeply" "{\"x\":$(head -c 100000 /dev/zero | tr '\0' '[')"
bad "something behind it" 5 "behind the dump" '{"VM": {}} x'
bad "other XML" 5 "no XenServer database" '<html></html>'
bad "a document type" 5 "document type is not accepted" '<!DOCTYPE database [<!ENTITY a "b">]><database/>'
bad "a row without a ref" 5 "without a ref" '<database><table name="VM"><row name="x"/></table></database>'
bad "XML that ends early" 5 "unclosed token" '<database><table name="VM"><row ref="a"'
run xenkit sim --load missing.json
check "a dump that is missing" 6 "" "~missing.json"
done_testing
