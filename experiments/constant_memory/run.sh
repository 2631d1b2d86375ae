#!/bin/sh
# Measures what the README shows, draws the figures and puts the numbers into the README. About seven minutes, on a machine
# that has nothing else to do. RWKVLAB names another program than the release build of this checkout.
set -eu
cd "$(dirname "$0")"
rwkvlab=${RWKVLAB:-../../build/release/rwkvlab}
threads=${THREADS:-1}
models="rwkv4-small rwkv5-small rwkv6-small rwkv7-small transformer-small"

# The names are words.
# shellcheck disable=SC2086
"$rwkvlab" bench generate $models --format float32 --threads "$threads" --positions 0,16,64,256,1024,2048,4096,8192 \
  --repetitions 8 --seconds 0.05 -o numbers/generation.json > numbers/generation.txt
for what in time state memory; do
  "$rwkvlab" plot generation numbers/generation.json --y "$what" -o "$what.svg"
done
# shellcheck disable=SC2086
"$rwkvlab" bench generate $models --format float32 --threads "$threads" --positions 0,512,1024,2048,3072,4096 \
  --cumulative --repetitions 2 --seconds 0.02 -o numbers/cumulative.json > numbers/cumulative.txt
"$rwkvlab" plot generation numbers/cumulative.json --y cumulative -o cumulative.svg
# shellcheck disable=SC2086
"$rwkvlab" bench context $models --threads "$threads" --contexts 256,512,1024,2048,4096,8192 --repetitions 3 \
  -o numbers/context.json > numbers/context.txt
"$rwkvlab" plot context numbers/context.json -o training_time.svg
"$rwkvlab" plot context numbers/context.json --y memory -o training_memory.svg
rm -f ./*.gp ./*.dat # `rwkvlab plot` makes them again.

# Replaces what stands between `<!-- NAME -->` and `<!-- end -->` by the file.
paste_numbers() {
  awk -v name="<!-- $1 -->" -v file="numbers/$1.txt" '
    $0 == "<!-- end -->" { skipping = 0 }
    !skipping { print }
    $0 == name { skipping = 1; print "```"; while ((getline line < file) > 0) print line; print "```" }
  ' README.md > README.new
  mv README.new README.md
}
paste_numbers generation
paste_numbers context
{
  date -u +"Measured on %Y-%m-%d, $threads thread(s)"
  sed -n 's/^model name[^:]*: /processor: /p' /proc/cpuinfo | head -1
} > numbers/machine.txt
paste_numbers machine
