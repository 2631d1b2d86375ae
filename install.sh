#!/bin/sh
# Installs the Debian packages that rwkvlab needs: to build and run it (run), or to test it as well (test).
set -eu

usage="usage: $0 run|test"
build="g++ cmake ninja-build libdnnl-dev libeigen3-dev libyaml-cpp-dev nlohmann-json3-dev libfmt-dev libcli11-dev
  libhdf5-dev libbenchmark-dev libutf8proc-dev zlib1g-dev libpng-dev libjpeg62-turbo-dev"
run="$build gnuplot-nox"
tests="$run libgtest-dev libgmock-dev python3 python3-h5py python3-numpy clang-format clang-tidy curl unzip"

case "${1-}" in
  run) wanted=$run ;;
  test) wanted=$tests ;;
  *) echo "$usage" >&2; exit 2 ;;
esac

missing=""
for package in $wanted; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo "Every package is installed already."
  exit 0
fi

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  as_root=sudo
  command -v sudo >/dev/null || { echo "error: run this as root, or install sudo; missing packages:$missing" >&2; exit 1; }
fi
echo "Installing:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
