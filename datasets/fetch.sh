#!/bin/sh
# Fetches the data sets that have a card here: fetch.sh NAME|all [DIRECTORY]
#
# A file appears under its final name only when its SHA-256 is right. A download that was cut short goes on where it
# stopped; a file that is already complete is not fetched again. Needs curl or wget, unzip for enwik8 and text8, and tar for
# cifar10 and cifar100.
set -eu

folder_of_cards=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "fetch.sh: $*"
  exit 1
}

names() {
  for card in "$folder_of_cards"/*/card.yaml; do
    basename "$(dirname "$card")"
  done
}

# field CARD KEY: the value of a top-level key. Cards keep such values on one line, unquoted.
field() {
  sed -n "s/^$2:[[:space:]]*//p" "$1" | sed -n '1s/[[:space:]]*$//p'
}

sha256_of() {
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum "$1" | cut -d ' ' -f 1
  else
    shasum -a 256 "$1" | cut -d ' ' -f 1
  fi
}

# download URL FILE: continues FILE when it has a beginning already.
download() {
  if command -v curl >/dev/null 2>&1; then
    curl --fail --location --retry 3 --continue-at - --output "$2" "$1"
  elif command -v wget >/dev/null 2>&1; then
    wget --continue --tries 3 --output-document "$2" "$1"
  else
    fail "needs curl or wget"
  fi
}

# verified FILE SHA256
verified() { [ -f "$1" ] && [ "$(sha256_of "$1")" = "$2" ]; }

# require FILE SHA256 WHAT: removes a wrong file, so that the next attempt starts afresh.
require() {
  found=$(sha256_of "$1")
  [ "$found" = "$2" ] && return 0
  rm -f "$1"
  fail "$3 has SHA-256 $found, expected $2; it was removed"
}

# fetch_file CARD FOLDER SUFFIX: the file whose keys end in SUFFIX.
fetch_file() {
  card=$1 folder=$2 suffix=$3
  url=$(field "$card" "url$suffix") file=$(field "$card" "file$suffix") sha256=$(field "$card" "sha256$suffix")
  archive_sha256=$(field "$card" "archive_sha256$suffix") member=$(field "$card" "archive_member$suffix")
  unpacks_to=$(field "$card" "unpacks_to$suffix")
  if [ -z "$url" ] || [ -z "$file" ] || [ -z "$sha256" ]; then
    fail "$card lacks url$suffix, file$suffix or sha256$suffix"
  fi

  target=$folder/$file
  mkdir -p "$folder"
  part=$target.part
  if verified "$target" "$sha256"; then
    :
  elif [ -z "$archive_sha256" ]; then
    # A partial file that is in fact whole would make the server refuse to continue it.
    verified "$part" "$sha256" || download "$url" "$part" || fail "cannot fetch $url; run again to continue"
    require "$part" "$sha256" "$url"
    sync "$part" 2>/dev/null || sync
    mv -f "$part" "$target"
  else
    command -v unzip >/dev/null 2>&1 || fail "needs unzip"
    archive=$target.zip.part
    verified "$archive" "$archive_sha256" || download "$url" "$archive" || fail "cannot fetch $url; run again to continue"
    require "$archive" "$archive_sha256" "$url"
    unzip -p "$archive" "$member" >"$part" || fail "cannot unpack $member of $archive"
    require "$part" "$sha256" "$member of $url"
    rm -f "$archive"
    sync "$part" 2>/dev/null || sync
    mv -f "$part" "$target"
  fi
  if [ -n "$unpacks_to" ] && [ ! -d "$folder/$unpacks_to" ]; then
    rm -rf "$target.unpacked"
    mkdir "$target.unpacked"
    tar -xzf "$target" -C "$target.unpacked" || fail "cannot unpack $target"
    [ -d "$target.unpacked/$unpacks_to" ] || fail "$target holds no folder $unpacks_to"
    mv "$target.unpacked/$unpacks_to" "$folder/$unpacks_to"
    rm -rf "$target.unpacked"
  fi
  say "$name: $target is complete"
}

# A card has one file, or further ones with the keys url_2, file_2, sha256_2 and so on.
fetch() {
  name=$1
  [ -f "$folder_of_cards/$name/card.yaml" ] || fail "no data set '$name'; there are: $(names | tr '\n' ' ')"
  fetch_file "$folder_of_cards/$name/card.yaml" "$2/$name" ""
  number=2
  while [ -n "$(field "$folder_of_cards/$name/card.yaml" "file_$number")" ]; do
    fetch_file "$folder_of_cards/$name/card.yaml" "$2/$name" "_$number"
    number=$((number + 1))
  done
}

case ${1:-} in
  '' | -h | --help)
    say "usage: fetch.sh NAME|all [DIRECTORY]   (DIRECTORY: $folder_of_cards)"
    say "names: $(names | tr '\n' ' ')"
    [ -n "${1:-}" ] || exit 1
    exit 0
    ;;
esac
[ $# -le 2 ] || fail "expected NAME|all [DIRECTORY], found $# arguments"
directory=${2:-$folder_of_cards}
if [ "$1" = all ]; then
  for each in $(names); do fetch "$each" "$directory"; done
else
  fetch "$1" "$directory"
fi
