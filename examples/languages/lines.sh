#!/bin/sh
# Keeps the lines of a text that are long enough. A worker in shell: it stays alive and answers JSON lines (needs jq).
# Contents stay in pipes: a variable of the shell holds no NUL. What goes to stderr is the document's log.
min_len=3

content() { # of the document in $line
    case $form in
        text) printf '%s\n' "$line" | jq -j .text ;;
        base64) printf '%s\n' "$line" | jq -j .base64 | base64 -d ;;
        path) cat "$(printf '%s\n' "$line" | jq -r .path)" ;;
    esac
}

answer() { # $1: the id
    if [ "$form" = path ] && ! [ -r "$(printf '%s\n' "$line" | jq -r .path)" ]; then
        printf '{"id":%s,"error":{"type":"Unreadable","message":"the document cannot be read"}}\n' "$1"
        return
    fi
    content | LC_ALL=C.UTF-8 awk -v min_len="$min_len" 'length($0) >= min_len' |
        jq -Rsc --argjson id "$1" '{id: $id, output: {text: .}}'
}

while IFS= read -r line; do
    set -- $(printf '%s\n' "$line" | jq -r '
        if .describe then "describe"
        elif .setup then "setup", (.setup.params.min_len // 3)
        elif has("id") then "document", .id, (["text", "base64", "path"] - (["text", "base64", "path"] - keys) | first)
        else "unknown" end')
    case $1 in
        describe) echo '{"describe":{"name":"lines","params":{"min_len":{"type":"int","default":3}},"takes":"doc"}}' ;;
        setup) min_len=$2; echo '{"ready":1}' ;;
        document) form=$3; answer "$2" ;;
    esac
done
