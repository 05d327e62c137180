#!/bin/sh
# Keeps the lines of a text that are long enough: say here what yours does.
#   $1  the document     $2  where the result goes     $3  min_len
# It ends with 0: done, 75: try again later, 77: leave this document out, anything else: failed. What it writes to
# stderr is the document's log.
set -eu

awk -v min_len="$3" 'length($0) >= min_len' "$1" > "$2"
echo "kept $(wc -l < "$2") lines" >&2
