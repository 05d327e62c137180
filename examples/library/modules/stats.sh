# Counts lines, words and letters of a text: a module in another language. Any program that reads one file and
# writes another will do; `{in}` and `{out}` in the Pipelinefile say where they go, what it prints on stderr is the log.
set -eu
LC_ALL=C awk '
    { words += NF; bytes += length($0) + 1; if (length($0) > longest) longest = length($0) }
    NF { paragraph = 1 }
    !NF { paragraphs += paragraph; paragraph = 0 }
    END { printf "{\"bytes\":%d,\"lines\":%d,\"longest_line\":%d,\"paragraphs\":%d,\"words\":%d}\n",
                 bytes, NR, longest, paragraphs + paragraph, words }
' "$1" > "$2"
