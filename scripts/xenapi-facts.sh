#!/bin/sh
# Takes the tables that the build needs out of the extracted XenAPI data model, into data/xenapi/.
#
#   scripts/xenapi-facts.sh [FOLDER]      (where the *.tsv lie; ../shared/xenapi when nothing is said)
#
# Messages that the interface generates and no client may call (flag notclient) are left out: answering them as unknown
# is what the real server does. The rest stays as it is, so that a newer extraction gives a readable difference.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
from=${1:-$root/../shared/xenapi}
into=$root/data/xenapi

[ -f "$from/messages.tsv" ] || {
    echo "xenapi-facts: no messages.tsv in $from" >&2
    exit 2
}
mkdir -p "$into"
for table in classes fields enums errors releases relations; do
    sed 's/[ \t]*$//' "$from/$table.tsv" >"$into/$table.tsv"
done
awk -F '\t' -v OFS='\t' 'NR == 1 || $13 !~ /(^|,)notclient(,|$)/' "$from/messages.tsv" >"$into/messages.tsv"
# What the command line of the pool's own tool takes is another list.
awk -F '\t' '$1 !~ /^xe /' "$from/map_options.tsv" | sed 's/[ \t]*$//' >"$into/map_options.tsv"
