#!/bin/sh
# Runs clang-tidy on the sources of the library and the program, with the compile commands of a build folder: on all of them, or
# on those that changed since a commit (also the source of a header that changed). Without that commit in the history: on all.
set -eu
build=${1:?usage: tests/lint.sh BUILD_FOLDER [COMMIT]}
since=${2-}
cd "$(dirname "$0")/.."
sources() {
  if [ -n "$since" ] && git rev-parse --quiet --verify "$since^{commit}" >/dev/null; then
    git diff --name-only --diff-filter=d "$since" -- 'lib/*' 'analysis/*' | sed 's/\.h$/.cpp/' | grep '\.cpp$' | sort -u |
      while read -r file; do if [ -f "$file" ]; then echo "$file"; fi; done
  else
    git ls-files 'lib/*.cpp' 'analysis/*.cpp'
  fi
}
sources | xargs -r -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option
