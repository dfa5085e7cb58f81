#!/bin/bash
# The main job: exit status, formats, the page, and a demo that finds what was planted.
. "$XENKIT_SOURCE/tests/tap.sh"

run xenkit checkup --demo --demo-dir demo
check "the demo finds exactly what it planted" 0 "~The demo worked: each of the 2[0-9] planted faults"
ok "its page is there" test -s demo/checkup.html
nok "the page loads nothing" grep -Eq '(src|href)="(https?:)?//' demo/checkup.html
run xenkit checkup --demo --demo-dir demo
check "an old demo is not mixed with a new one" 6 "" "-"
run xenkit checkup --demo --demo-dir demo2 --json
check "the demo as JSON" 0 '~"demo":\{.*"differences":0'

# A fault more than planned, or one less, makes the demo's own examination fail.
run xenkit checkup --skip machine demo2
check "damaged images make a bad check-up" 1 "~^critical"
run xenkit checkup demo2/healthy
check "healthy ones do not" 0 "all is well: nothing was found"
run xenkit checkup --html page.html --json demo2/footer demo2/healthy
check "one damaged image among healthy ones" 1 '~"critical":1,"warnings":0'
ok "is on the page" grep -q "vhd.footer" page.html
run xenkit checkup --only vhd.footer demo2
check "one check only" 1 "~^1 critical, 0 warnings, 0 notes"
run xenkit checkup --skip vhd --skip machine demo2
check "nothing left to look for" 0 "all is well: nothing was found"
run xenkit checkup --only vhd.foot demo2
check "half a name is no check" 2 "" "~--list"
run xenkit checkup --list --plain
check "the checks have names" 0 "~^vhd.footer	critical"
run xenkit checkup --list demo2
check "a list examines nothing" 2 "" "-"
run xenkit checkup --demo demo2
check "the demo makes its own targets" 2 "" "-"
run xenkit checkup nothing-here
check "a target that is not there" 2 "" "~no such file or folder"
run xenkit checkup --html /nowhere/page.html demo2/healthy
check "a page that cannot be written" 6 "-" "~/nowhere"
run xenkit checkup --csv localhost
like "this machine as CSV" "$(head -n 1 "$out")" "^severity,check,title,object,evidence"

mkdir names && xenkit vhd create -q --size 2M "$(printf 'names/\033[31m<b>"x.vhd')" >/dev/null
for f in names/*; do printf x | dd of="$f" bs=1 seek=600 conv=notrunc status=none; done
run xenkit checkup --html names.html names
check "a hostile name is cleaned" 1 '~\\x1b\[31m<b>"x.vhd'
nok "no escape byte comes out" grep -q "$(printf '\033')" "$out"
nok "nor a tag on the page" grep -q '\[31m<b>' names.html

done_testing
