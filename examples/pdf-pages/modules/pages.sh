# One file for each page of a PDF. $1: the PDF, $2: the folder to write into. A page is what ends with a form feed.
set -eu
pdftotext -enc UTF-8 "$1" - | awk -v RS='\f' -v folder="$2" '
    { name = sprintf("%s/page-%03d.txt", folder, NR); printf "%s", $0 > name; close(name) }'
