#!/bin/sh
# Installs what the tests need, builds everything, and the layers up to `autograd` with sanitizers too, runs all tests and the style
# checks.
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

echo "== Build and tests"
cmake --preset release
cmake --build --preset release
ctest --preset release --no-tests=error

# The layers of raw memory. The preset without RWKVLAB_LAST_LAYER sanitizes everything, which takes three times as long.
echo "== Build and tests with sanitizers"
cmake --preset asan -DRWKVLAB_LAST_LAYER=autograd
cmake --build --preset asan
ctest --preset asan --no-tests=error

# What has not changed for long was checked when it did; `tests/lint.sh build/release` checks everything, which takes a while.
echo "== Lint of what changed lately"
if git rev-parse --quiet --verify 'HEAD~8^{commit}' >/dev/null; then
  tests/lint.sh build/release HEAD~8
else
  echo "skipped: this clone has no history that tells what changed"
fi
echo "Everything passes."
