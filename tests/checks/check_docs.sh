#!/bin/sh
# The documents are true to the tree: links lead somewhere, tests and files they name exist, and
# docs/api.md has exactly the methods of docs/api.schema.json and src/rpc/methods.h.
set -eu
source=$1
status=0
cd "$source"

fail() {
    echo "check_docs: $*" >&2
    status=1
}

for document in README.md SECURITY.md docs/*.md; do
    folder=$(dirname "$document")
    for link in $(grep -oE '\]\([^)#:]+[)#]' "$document" | sed 's/^](//; s/[)#]$//' | sort -u); do
        [ -e "$folder/$link" ] || fail "$document: no $link"
    done
    for path in $(grep -oE '(^|[^A-Za-z0-9_./-])(tests|src|hsm|tools|include)/[A-Za-z0-9_./-]*[A-Za-z0-9_]' "$document" |
        sed 's/^[^a-z]//' | sort -u); do
        [ -e "$path" ] || fail "$document: no $path"
    done
    for name in $(grep -oE '`test_[a-z0-9_]+`' "$document" | tr -d '`' | sort -u); do
        grep -rqwE "$name" tests || fail "$document: no test $name"
    done
done

# Headings that are linked to, as GitHub names them.
for link in $(grep -ohE '\]\([^) ]*#[^) ]+\)' README.md docs/*.md | sed 's/^](//; s/)$//' | sort -u); do
    file=${link%%#*}
    anchor=${link#*#}
    [ -n "$file" ] || file=protocol.md
    file=docs/$(basename "$file")
    [ -f "$file" ] || continue
    grep -hE '^#+ ' docs/*.md README.md | sed -E 's/^#+ //' | tr 'A-Z ' 'a-z-' |
        sed 's/[^a-z0-9_-]//g' | grep -qx "$anchor" || fail "$link: no such heading"
done

methods=$(sed -nE 's/^ *X\([A-Z_]+, "([a-z.]+)"\).*/\1/p' src/rpc/methods.h | sort)
[ -n "$methods" ] || fail "no methods in src/rpc/methods.h"
schema=$(sed -nE 's/^    "([a-z]+\.[a-z]+)": \{$/\1/p' docs/api.schema.json | sort)
[ "$methods" = "$schema" ] || fail "docs/api.schema.json has other methods than src/rpc/methods.h"
text=$(sed '/^## Not in this version/,$d' docs/api.md)
for method in $methods; do
    printf '%s' "$text" | grep -qF "\`$method" || fail "docs/api.md does not describe $method"
done
exit $status
