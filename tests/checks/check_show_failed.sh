#!/bin/bash
# What is on the screen when tools/check ends tells why tests failed: tools/check itself is run, in a
# tree of its own with tests that fail in all the ways there are.
# Usage: check_show_failed.sh SOURCE_DIR [BUILD_DIR]
set -eu -o pipefail
source=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
status=0

complain() {
    echo "check_show_failed: $*" >&2
    status=1
}

mkdir -p "$root/tools" "$root/fake"
cp "$source/tools/check" "$source/tools/lib.sh" "$source/tools/show-failed" "$root/tools"

# In the place of cmake: "builds" a preset whose tests are those of $root/tests.
cat >"$root/fake/cmake" <<'TXT'
#!/bin/sh
[ "$1" = --preset ] || exit 0
cp "${0%/fake/cmake}/tests.cmake" "build/$2/CTestTestfile.cmake"
TXT
chmod +x "$root/fake/cmake"

cat >"$root/cmocka" <<'TXT'
[==========] Running 3 test(s).
[ RUN      ] test_that_is_good
[       OK ] test_that_is_good
[ RUN      ] test_that_is_bad
[  ERROR   ] --- 0x1 != 0x2
[   LINE   ] --- test_x.c:403: error: Failure!
[  FAILED  ] test_that_is_bad
[ RUN      ] test_that_says_much
TXT
seq -f 'word %.0f of much' 1 200 >>"$root/cmocka"
cat >"$root/sanitizer" <<'TXT'
==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1
    #0 0x2 in the_place_where file.c:12
SUMMARY: AddressSanitizer: heap-use-after-free file.c:12
TXT
seq -f 'afterwards %.0f' 1 50 >>"$root/sanitizer"
# as unittest writes it: two errors, of which the first is longer than what is shown of one
{
    echo 'test_one (test_x.Case.test_one) ... ERROR'
    seq -f 'noise %.0f' 1 100
    printf '\n======\nERROR: test_one (test_x.Case.test_one)\n------\nTraceback (most recent call last):\n'
    seq -f '  File "deep.py", line %.0f' 1 80
    echo 'OSError: the reason of the first'
    printf '\n======\nFAIL: test_two (test_x.Case.test_two)\n------\nTraceback (most recent call last):\n'
    seq -f '  File "flat.py", line %.0f' 1 60
    printf 'AssertionError: the reason of the second\n\n------\nRan 2 tests in 0.1s\n\nFAILED (failures=1, errors=1)\n'
} >"$root/unittest"

cat >"$root/tests.cmake" <<TXT
add_test(good /bin/sh -c "echo word of the good one")
add_test(unit.bad /bin/sh -c "cat $root/cmocka; exit 1")
add_test(unit.memory /bin/sh -c "cat $root/sanitizer; exit 99")
add_test(integration.bad /bin/sh -c "cat $root/unittest; exit 1")
add_test(unit.hangs /bin/sh -c "exec sleep 100")
set_tests_properties(unit.hangs PROPERTIES TIMEOUT 1)
add_test(unit.missing /no/such/program)
TXT

run_check() { # the end of what is on the screen; tools/check must fail
    if PATH=$root/fake:$PATH "$root/tools/check" --no-install "$@" >"$root/screen" 2>&1; then
        complain "tools/check $* says all is well"
    fi
    sed -n '/^==== /,$p' "$root/screen"
}

must_say() { # TEXT, in the end of the screen
    grep -qF -- "$1" <<<"$end" || complain "the end of the screen does not say: $1"
}

end=$(run_check one two)
for preset in one two; do
    for name in unit.bad unit.memory integration.bad unit.hangs unit.missing; do
        must_say "==== $name (build/$preset)"
    done
done
must_say '[  ERROR   ] --- 0x1 != 0x2'
must_say 'test_x.c:403: error'
must_say '[ RUN      ] test_that_is_bad'
must_say 'word 161 of much'
must_say 'AddressSanitizer: heap-use-after-free on address'
must_say 'the_place_where'
must_say 'ERROR: test_one (test_x.Case.test_one)'
must_say 'OSError: the reason of the first'
must_say 'FAIL: test_two (test_x.Case.test_two)'
must_say 'AssertionError: the reason of the second'
must_say 'FAILED (failures=1, errors=1)'
must_say 'ctest could not start it'
must_say '(Timeout)'
for word in 'word of the good one' 'word 160 of much' 'noise 50' 'deep.py", line 30'; do
    ! grep -qF "$word" <<<"$end" || complain "the end of the screen is longer than it must be: $word"
done
[ "$(sed -n '/^==== /=' <<<"$end" | tail -n 1)" -lt "$(sed -n '/^check: preset .* failed$/=' <<<"$end" | head -n 1)" ] ||
    complain "the summaries do not come last"
[ "$(grep -c 'The following tests FAILED' <<<"$end")" = 2 ] || complain "there is not one summary for each preset"

# a run in which all is well after one that was not
echo 'add_test(unit.bad /bin/true)' >"$root/tests.cmake"
PATH=$root/fake:$PATH "$root/tools/check" --no-install one >"$root/screen" 2>&1 ||
    complain "tools/check fails where all is well"
[ -z "$("$root/tools/show-failed" "$root/build/one")" ] || complain "what failed before is shown again"
! grep -q '^====' "$root/screen" || complain "a failure is shown where there is none"
exit $status
