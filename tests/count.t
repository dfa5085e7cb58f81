# The closing line of `make test` counts what really happened (scripts/count.awk).

. "$XENKIT_SOURCE/tests/tap.sh"

count() {
    awk -f "$XENKIT_SOURCE/scripts/count.awk" "$@"
}

mkdir a b
cat >a/testlog.junit.xml <<'END'
<?xml version='1.0' encoding='utf-8'?>
<testsuites tests="6" errors="0" failures="1"><testsuite name="p.one" tests="3" errors="0" failures="1"><testcase name="1 - x" classname="p.one" /><testcase name="2"><failure /></testcase><testcase name="3"><skipped /><system-out>why</system-out></testcase><system-out>&lt;testcase and &lt;failure are text here
not ok 2</system-out></testsuite><testsuite name="p" tests="2" errors="0" failures="0" skipped="1"><testcase name="whole" classname="p" time="1" /><testcase name="skipped whole" classname="p" time="1"><skipped /></testcase></testsuite></testsuites>
END
cat >a/testlog.json <<'END'
{"name": "one", "stdout": "not ok\n \"result\": \"FAIL\"", "result": "FAIL", "returncode": 1}
{"name": "whole", "stdout": "\"result\": \"FAIL\"", "result": "OK", "returncode": 0}
END
run count a/testlog.junit.xml a/testlog.json
check "passed, failed and skipped cases" 0 "2 1 2"

# A program whose subtests were all well and that then died.
cat >b/testlog.junit.xml <<'END'
<testsuites tests="1"><testsuite name="p.dies" tests="1" errors="0" failures="0"><testcase name="1 - x" /></testsuite></testsuites>
END
cat >b/testlog.json <<'END'
{"name": "dies", "result": "ERROR", "returncode": -11}
END
run count b/testlog.junit.xml b/testlog.json
check "a program that died after its last good subtest is one failure more" 0 "1 1 0"
run count a/testlog.junit.xml a/testlog.json b/testlog.junit.xml b/testlog.json
check "builds are added up" 0 "3 2 2"
done_testing
