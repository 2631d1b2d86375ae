#!/bin/sh
# Installs the Debian packages, builds a release, trains the three variants of the quickstart and draws its figures. Options go on
# to `rwkvlab run`; --resume goes on with what is missing.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
sweep=runs/quickstart

case " $* " in *" --resume "*) ;; *)
  if [ -e "$sweep" ]; then
    echo "error: $sweep exists already; remove it, or continue it with: $0 --resume" >&2
    exit 2
  fi ;;
esac
case " $* " in *" --out "* | *" --out="*)
  echo "error: the quickstart goes to $sweep; for another folder, run: rwkvlab run experiments/quickstart/experiment.yaml --out DIR" >&2
  exit 2 ;;
esac

./install.sh run
cmake --preset release
cmake --build --preset release --target rwkvlab_program
build/release/rwkvlab run experiments/quickstart/experiment.yaml --out "$sweep" --jobs "$(nproc)" "$@"
mkdir -p "$sweep/figures"
build/release/rwkvlab plot curves "$sweep" --metric eval/bits_per_byte -o "$sweep/figures/curves.svg"
build/release/rwkvlab plot decay "$sweep/runs/RWKV-4/seed-1" -o "$sweep/figures/decay.svg"
