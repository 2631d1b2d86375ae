#!/bin/sh
# Trains a few steps on processors of other generations, emulated by qemu-user: usage tests/portability.sh [PROGRAM].
# Every one must run, and end at nearly the same loss; roundings differ between instruction sets. Takes minutes.
set -eu
program=${1:-build/release/rwkvlab}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/tiny.yaml" <<'YAML'
name: tiny
model: {kind: language_model, layers: 1, width: 32, time_mix: {kind: rwkv7, head_size: 16}, channel_mix: {kind: rwkv7}}
data: {kind: arithmetic_text}
train: {steps: 3, batch: 2, context: 16, checkpoint_every: 0}
YAML
# One thread, told from outside: the emulator cannot start the program again as the program does to set how threads wait.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
for processor in Nehalem Haswell; do
  qemu-x86_64 -cpu "$processor" "$program" run "$folder/tiny.yaml" --out "$folder/$processor" > "$folder/$processor.txt" 2>&1 ||
    { cat "$folder/$processor.txt"; exit 1; }
  echo "$processor: $(grep -oE 'loss +[0-9.]+' "$folder/$processor.txt" | tail -1)"
done
