# Arrows point down only: main -> rooms -> lib -> core. Rooms do not know each other, lib does not print or exit.

. "$XENKIT_SOURCE/tests/tap.sh"
requires nm gcc tsort
cd "$XENKIT_SOURCE" || exit 1

# "FILE INCLUDED", one a line, for the headers of our own.
find src -name '*.[ch]' -exec sed -n 's|^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*|\1|p;T;F' {} + |
    awk 'NR % 2 { included = $0; next } { print $0, included }' >"$tmp/includes"

ok "includes were found at all" test "$(wc -l <"$tmp/includes")" -gt 50

# An include names its header from src/ on, or a header in the same folder.
awk '
    function layer(path, word) {
        split(path, word, "/")
        return word[1] == "core" ? "core" : word[1] == "lib" || word[1] == "rooms" ? word[1] "/" word[2] : "main"
    }
    {
        file = substr($1, 5) # without src/
        from = layer(file)
        to = $2 ~ /\// ? layer($2) : from
        if ($2 ~ /\.\./)
            bad = "goes up by .."
        else if (from == to || to == "core" || from == "main")
            next
        else if (to ~ /^lib\// && from != "core")
            next
        else
            bad = "is not below"
        print $1 " includes " $2 ", which " bad
    }' "$tmp/includes" >"$tmp/bad"
is "every include points down" "$(cat "$tmp/bad")" ""

# Libraries may use each other, but not in a circle.
sed -n 's|^src/lib/\([^/]*\)/[^ ]* lib/\([^/]*\)/.*|\1 \2|p' "$tmp/includes" | sort -u >"$tmp/libs"
run tsort "$tmp/libs"
check "libraries do not need each other in a circle" 0 -

# Words, not comments: those may take their examples from anywhere.
for file in src/core/*.[ch]; do
    case $file in */test-*) continue ;; esac
    gcc -fpreprocessed -dD -E -P "$file" 2>/dev/null |
        grep -inwE 'xen|xapi|xenapi|vhd|dom0|domu|hypervisor|pool' | sed "s|^|$file: |"
done >"$tmp/bad"
is "core knows nothing of Xen" "$(cat "$tmp/bad")" ""

if [ "${XENKIT_STATIC:-0}" != 1 ]; then
    skip "what the objects call" "a sanitizer replaces the names"
    done_testing
fi

# uses NAMES FILE…: which object refers to one of these names from outside itself.
uses() {
    names=$1
    shift
    nm -A -u "$@" | awk -v names="$names" '
        BEGIN { n = split(names, list, " "); for (i = 1; i <= n; i++) wanted[list[i]] = 1 }
        { name = $NF; sub(/@.*/, "", name); if (name in wanted) print $1, name }'
}

print='printf vprintf puts putchar putchar_unlocked perror psignal __printf_chk __vprintf_chk stdout stderr
    warn warnx vwarn vwarnx syslog __syslog_chk'
print_to='dprintf vdprintf __dprintf_chk __vdprintf_chk'
leave='exit quick_exit abort raise err errx verr verrx error longjmp __longjmp_chk'
leave_at_once='_exit _Exit'

archives=$(find "$XENKIT_BUILD/src/lib" -name 'lib*.a')
# shellcheck disable=SC2086
{
    like "the archives of lib were found" "$archives" 'libvhd\.a$'
    is "lib never prints" "$(uses "$print $print_to" $archives)" ""
    is "lib never exits" "$(uses "$leave $leave_at_once" $archives)" ""
}
is "lib never names the standard streams" "$(grep -rnwE 'STDOUT_FILENO|STDERR_FILENO' src/lib --include='*.[ch]')" ""

core=$(find "$XENKIT_BUILD/src/core" -path '*libcore.a.p/*.o')
# shellcheck disable=SC2086
{
    like "the objects of core were found" "$core" 'err\.c\.o$'
    is "in core only out, log and prog print" "$(uses "$print $print_to" $core | grep -vE '/(out|log|prog)\.c\.o:')" ""
    is "core never exits" "$(uses "$leave $leave_at_once" $core | grep -vE '/(clock\.c\.o: raise|child\.c\.o: _exit)$')" ""
}

# A classic name writes its texts to the log's descriptor as they are; a child that could not become another program
# has to leave at once.
rooms=$(find "$XENKIT_BUILD" -path '*/xenkit.p/src_rooms_*.o')
# shellcheck disable=SC2086
{
    like "the objects of the rooms were found" "$rooms" 'rooms_vhd_room\.c\.o$'
    is "rooms print through core only" "$(uses "$print" $rooms)" ""
    is "rooms never exit" "$(uses "$leave" $rooms)" ""
}
done_testing
