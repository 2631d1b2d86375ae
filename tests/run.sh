#!/bin/sh
# Installs what the tests need, builds everything with and without sanitizers, runs all tests and the style checks.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

./install.sh test
# A compiler cache is used when there is one.
if [ -z "${CMAKE_CXX_COMPILER_LAUNCHER-}" ] && command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_SLOPPINESS=pch_defines,time_macros
fi

echo "== Style"
git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run --Werror

for preset in release asan; do
  echo "== Build and tests: $preset"
  cmake --preset "$preset"
  cmake --build --preset "$preset"
  ctest --preset "$preset" --no-tests=error
done

# What has not changed for long was checked when it did; `tests/lint.sh build/release` checks everything, which takes a while.
echo "== Lint of what changed lately"
if git rev-parse --quiet --verify 'HEAD~12^{commit}' >/dev/null; then
  tests/lint.sh build/release HEAD~12
else
  echo "skipped: this clone has no history that tells what changed"
fi
echo "Everything passes."
