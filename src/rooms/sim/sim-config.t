# Settings of the simulated hosts and pool: what a client sees of them, and what is refused by name.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires openssl

export CURL_CA_BUNDLE="$tmp/pool.pem"
start --tls --certificates "$tmp/pool.pem"
session=$(login)
pool=$(result pool.get_all "$session" | jq '.[0]')
host=$(result host.get_all "$session" | jq '.[1]')
master=$(result host.get_all "$session" | jq '.[0]')
did() {
    call "$@" | jq -c '.result // ([.error.message] + .error.data)'
}

# ---- hosts ----

is "a name" "$(did host.set_hostname_live "$session" "$host" '"new-name"')" '""'
is "is the host's" "$(result host.get_hostname "$session" "$host")" '"new-name"'
is "and its domain's" "$(result VM.get_name_label "$session" "$(result host.get_control_domain "$session" "$host")")" '"Control domain on host: new-name"'
is "no name" "$(did host.set_hostname_live "$session" "$host" '"a b"')" '["HOST_NAME_INVALID","hostname contains invalid characters"]'
is "SSH for a time" "$(did host.set_ssh_enabled_timeout "$session" "$host" 60)" '""'
did host.enable_ssh "$session" "$host" >/dev/null
ok "ends" test "$(result host.get_ssh_expiry "$session" "$host")" != '"19700101T00:00:00Z"'
is "not for too long" "$(did host.set_ssh_enabled_timeout "$session" "$host" 172801)" '["INVALID_VALUE","ssh_enabled_timeout","172801"]'
is "on all hosts" "$(did pool.disable_ssh "$session" "$pool")$(result host.get_all_records "$session" | jq -c '[.[].ssh_enabled] | unique')" '""[false]'
is "own time servers, but none" "$(did host.set_ntp_mode "$session" "$host" '"Custom"' | jq -r '.[0]')" INVALID_NTP_CONFIG
did host.set_ntp_custom_servers "$session" "$host" '["192.0.2.1"]' >/dev/null
is "own time servers" "$(did host.set_ntp_mode "$session" "$host" '"Custom"')$(result host.get_ntp_servers_status "$session" "$host" | jq -c keys)" '""["192.0.2.1"]'
is "a clock that servers set" "$(did host.set_servertime "$session" "$host" '"20300101T00:00:00Z"')" "[\"NOT_ALLOWED_WHEN_NTP_IS_ENABLED\",$host]"
did host.set_ntp_mode "$session" "$host" '"Disabled"' >/dev/null
did host.set_servertime "$session" "$host" '"20300101T00:00:00Z"' >/dev/null
like "one that is set by hand" "$(result host.get_servertime "$session" "$host")" '^"20300101T'
like "does not move that of another host" "$(result host.get_servertime "$session" "$master")" "^\"$(date -u +%Y)"
is "a time zone that is none" "$(did host.set_timezone "$session" "$host" '"Moon/Sea"')" '["INVALID_VALUE","timezone","Moon/Sea"]'
is "processors that sleep deeply" "$(did host.set_max_cstate "$session" "$host" '"3"' | jq -r '.[0]')" VALUE_NOT_SUPPORTED
is "or lightly" "$(did host.set_max_cstate "$session" "$host" '"1"')$(result host.get_max_cstate "$session" "$host")" '"""1"'
did host.send_debug_keys "$session" "$host" '"q"' >/dev/null
like "keys for the hypervisor are on its console" "$(result host.dmesg "$session" "$host")" "'q' pressed"
nok "not on another's" sh -c "echo '$(result host.dmesg "$session" "$master" | tr -d "'")' | grep -q 'q pressed'"
is "a licence that nobody signed" "$(did host.license_add "$session" "$host" '"AAAA"')" '["LICENSE_PROCESSING_ERROR"]'
is "an edition that is none" "$(did host.apply_edition "$session" "$host" '"gold"')" '["INVALID_EDITION","gold"]'
did host.apply_edition "$session" "$host" '"trial"' >/dev/null
is "the pool has the lowest edition of its hosts" "$(result pool.get_license_state "$session" "$pool" | jq -r .edition)" trial
is "what is reached only by a console" "$(did host.get_log "$session" "$host")" '["NOT_IMPLEMENTED","get_log"]'
is "an upload to nobody" "$(did host.bugreport_upload "$session" "$host" '"http://192.0.2.1/"' '{}' | jq -r '.[0]')" INTERNAL_ERROR
is "no emergency, no way around the master" "$(did host.local_management_reconfigure "$session" '"eth0"')" '["NOT_IN_EMERGENCY_MODE"]'
is "the management interface" "$(result PIF.get_management "$session" "$(result host.get_management_interface "$session" "$host")")" true

# ---- the pool ----

is "no balancing without a server" "$(did pool.retrieve_wlb_configuration "$session")" '["WLB_NOT_INITIALIZED"]'
is "a proxy needs a scheme" "$(did pool.configure_repository_proxy "$session" "$pool" '"proxy:3128"' '""' '""')" '["INVALID_REPOSITORY_PROXY_URL","proxy:3128"]'
is "and both of a name and a password" "$(did pool.configure_repository_proxy "$session" "$pool" '"http://proxy:3128"' '"u"' '""')" '["INVALID_REPOSITORY_PROXY_CREDENTIAL"]'
is "updates on no day of the week" "$(did pool.configure_update_sync "$session" "$pool" '"weekly"' 7)" '["INVALID_UPDATE_SYNC_DAY","7"]'
is "nor from nowhere" "$(did pool.set_update_sync_enabled "$session" "$pool" true)" '["NO_REPOSITORIES_CONFIGURED"]'
repository=$(result Repository.introduce "$session" '"base"' '""' '"http://192.0.2.1/r"' '"http://192.0.2.1/s"' true)
did pool.set_repositories "$session" "$pool" "[$repository]" >/dev/null
is "from a repository they may" "$(did pool.set_update_sync_enabled "$session" "$pool" true)" '""'
is "one that is used is not forgotten" "$(did Repository.forget "$session" "$repository")" '["REPOSITORY_IS_IN_USE"]'
is "two with one name are one too many" "$(did Repository.introduce "$session" '"base"' '""' '"http://192.0.2.2/r"' '"http://192.0.2.2/s"' true)" \
    "[\"REPOSITORY_ALREADY_EXISTS\",$repository]"
is "nothing comes from where nobody is" "$(did pool.sync_updates "$session" "$pool" false)" '["REPOSYNC_FAILED"]'
is "a switch's controller" "$(did pool.set_vswitch_controller "$session" '"192.0.2.9"')$(result SDN_controller.get_all_records "$session" | jq -c '[.[].address]')" '""["192.0.2.9"]'
is "by no name" "$(did pool.set_vswitch_controller "$session" '"there"')" '["INVALID_IP_ADDRESS_SPECIFIED","address"]'
is "a guest's agent knows few words" "$(did pool.add_to_guest_agent_config "$session" "$pool" '"auto_update_enabled"' '"maybe"' | jq -r '.[0]')" INVALID_VALUE
before=$(result pool.initial_auth "$session")
did pool.rotate_secret "$session" >/dev/null
ok "another secret" test "$(result pool.initial_auth "$session")" != "$before"
is "a log that all see needs storage that all see" \
    "$(did pool.enable_redo_log "$session" "$(result SR.get_by_name_label "$session" '"Local storage 1"' | jq '.[0]')" | jq -r '.[0]')" CANNOT_ENABLE_REDO_LOG

# ---- certificates ----

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=ca 2>/dev/null
pem=$(jq -Rs . <cert.pem)
is "an authority" "$(did pool.install_ca_certificate "$session" '"ca.pem"' "$pem")" '""'
is "once" "$(did pool.install_ca_certificate "$session" '"ca.pem"' "$pem")" '["CERTIFICATE_ALREADY_EXISTS","ca.pem"]'
is "is listed" "$(result pool.certificate_list "$session")" '["ca.pem"]'
is "with its fingerprint" "$(result Certificate.get_all_records "$session" | jq -r '[.[] | select(.name == "ca.pem")][0].fingerprint_sha256')" \
    "$(openssl x509 -in cert.pem -noout -fingerprint -sha256 | sed 's/.*=//')"
is "a name that would be another file" "$(did pool.install_ca_certificate "$session" '"../ca.pem"' "$pem")" '["CERTIFICATE_NAME_INVALID","../ca.pem"]'
is "a text that is none" "$(did pool.install_ca_certificate "$session" '"b.pem"' '"x"')" '["CA_CERTIFICATE_INVALID"]'
is "gone" "$(did pool.uninstall_ca_certificate "$session" '"ca.pem"')$(result pool.certificate_list "$session")" '""[]'
is "once" "$(did pool.uninstall_ca_certificate "$session" '"ca.pem"')" '["CERTIFICATE_DOES_NOT_EXIST","ca.pem"]'
is "for no purpose" "$(did pool.install_trusted_certificate "$session" "$pool" false "$pem" '[]')" '["CERTIFICATE_LACKS_PURPOSE"]'
is "a list of none" "$(did pool.crl_install "$session" '"c.pem"' "$pem")" '["CRL_CORRUPT","c.pem"]'
print_of() {
    result Certificate.get_all_records "$session" | jq -r "[.[] | select(.host == $host)][0].fingerprint_sha256"
}
before=$(print_of)
did host.reset_server_certificate "$session" "$host" >/dev/null
ok "a host has another certificate" test "$(print_of)" != "$before"
is "and shows it" "$(openssl s_client -connect "${slave#https://}" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 | sed 's/.*=//')" "$(print_of)"

# ---- clusters ----

network=$(result PIF.get_network "$session" "$(result host.get_management_interface "$session" "$host")")
is "a stack that nobody has" "$(did Cluster.create "$session" "$(result host.get_management_interface "$session" "$master")" '"heartbeat"' true)" '["INVALID_CLUSTER_STACK","heartbeat"]'
is "an interface that may be unplugged" "$(did Cluster.pool_create "$session" "$network" '"corosync"' | jq -r '.[0]')" PIF_ALLOWS_UNPLUG
for pif in $(result network.get_PIFs "$session" "$network" | jq -c '.[]'); do
    did PIF.set_disallow_unplug "$session" "$pif" true >/dev/null
done
cluster=$(result Cluster.pool_create "$session" "$network" '"corosync"')
is "a cluster of all hosts" "$(result Cluster.get_record "$session" "$cluster" | jq -c '[(.cluster_hosts | length), .live_hosts, .quorum, .is_quorate]')" '[3,3,2,true]'
is "is not a cluster of one" "$(did Cluster.destroy "$session" "$cluster")" '["CLUSTER_DOES_NOT_HAVE_ONE_NODE","3"]'
is "and has a network" "$(result Cluster.get_network "$session" "$cluster")" "$network"
did Cluster.pool_destroy "$session" "$cluster" >/dev/null
is "no more" "$(result Cluster_host.get_all "$session")" '[]'
stop
is "nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
