# Adds up what meson test left behind: "passed failed skipped", from the real results.
#
#   awk -f scripts/count.awk build-*/meson-logs/testlog.junit.xml build-*/meson-logs/testlog.json
#
# junit.xml has every subtest. It does not show a program that died, timed out or ended with an error after its last
# good subtest: those stand in the JSON log only, and each that has no failed subtest counts as one failure more.

function key(file) {
    sub(/[^\/]*$/, "", file)
    return file
}

FILENAME ~ /junit\.xml$/ {
    # One element a piece, whatever the line breaks; "<" inside text is always written as &lt;.
    n = split($0, piece, "<")
    for (i = 2; i <= n; i++) {
        if (piece[i] ~ /^testsuite[ >]/) {
            suite_failed = 0
            # Tests without subtests share one suite that has the project's name.
            shared = piece[i] !~ / name="[^"]*\./
        } else if (piece[i] ~ /^testcase[ >]/) {
            cases++
            counted = 0
        } else if (piece[i] ~ /^(failure|error)[ \/>]/ && !counted) {
            failed++
            counted = 1
            if (shared || !suite_failed)
                seen[key(FILENAME)]++
            suite_failed = 1
        } else if (piece[i] ~ /^skipped[ \/>]/ && !counted) {
            skipped++
            counted = 1
        }
    }
}

# A quote inside a text is \" here, so this can only be the member itself.
FILENAME ~ /testlog\.json$/ && /"result": "(FAIL|ERROR|TIMEOUT|INTERRUPT|UNEXPECTEDPASS)"/ {
    bad[key(FILENAME)]++
}

END {
    passed = cases - failed - skipped
    for (where in bad)
        if (bad[where] > seen[where])
            failed += bad[where] - seen[where]
    print passed + 0, failed + 0, skipped + 0
}
