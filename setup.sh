#!/bin/sh
# Gets a machine ready for Graft: Deno, and a Vulkan driver for WebGPU, each only where it is missing.
#
#   sh setup.sh
#
# Safe to repeat. Needs root (or sudo) only for what it has to install. Ends with 0 only where Deno runs and finds a
# WebGPU adapter.
set -eu
export DEBIAN_FRONTEND=noninteractive

DENO_VERSION=2.9.6
DENO_MINOR=9 # any Deno 2.9 or newer will do

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# Runs a shell command as root, or says which one to run and stops.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    sh -c "$1"
  elif command -v sudo >/dev/null 2>&1; then
    say "this needs root: sudo sh -c '$1'"
    sudo sh -c "$1" || fail "sudo did not work. Run as root, then repeat 'sh setup.sh':" "  $1"
  else
    fail "this needs root, and there is no sudo. Run as root, then repeat 'sh setup.sh':" "  $1"
  fi
}

# "2.9.6" of the deno on PATH; empty where there is none or it does not start.
deno_version() { deno --version 2>/dev/null | sed -n '1s/^deno \([0-9][0-9.]*\).*/\1/p'; }

# Whether version $1 is 2.$DENO_MINOR or newer.
new_enough() {
  major=${1%%.*}
  rest=${1#*.}
  minor=${rest%%.*}
  [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -ge "$DENO_MINOR" ]; }
}

install_deno() {
  command -v npm >/dev/null 2>&1 || fail "Deno is missing, and so is npm to install it with. Install Node.js" \
    "(Debian: apt-get install npm; else https://nodejs.org) or Deno itself (https://docs.deno.com/runtime)."
  prefix=$(npm prefix -g 2>/dev/null)
  case $(uname -s) in
    MINGW* | MSYS* | CYGWIN*) modules=$prefix/node_modules bin=$prefix ;;
    *) modules=$prefix/lib/node_modules bin=$prefix/bin ;;
  esac
  say "installing Deno $DENO_VERSION from npm into $prefix"
  # A first `npm install -g` makes the folders, so a writable prefix will do.
  if [ "$(id -u)" = 0 ] || [ -w "$modules" ] || { [ ! -e "$modules" ] && [ -w "$prefix" ]; }; then
    npm install -g --no-fund --no-audit "deno@$DENO_VERSION" || fail "npm could not install Deno; its message is above."
  elif command -v sudo >/dev/null 2>&1; then
    as_root "npm install -g --no-fund --no-audit deno@$DENO_VERSION"
  else
    fail "$prefix is not writable by you, and there is no sudo. Install Deno in your home, then repeat 'sh setup.sh':" \
      "  npm install -g --prefix \"\$HOME/.local\" deno@$DENO_VERSION" "  export PATH=\"\$HOME/.local/bin:\$PATH\""
  fi
  hash -r
  found=$(deno_version)
  if [ -n "$found" ] && new_enough "$found"; then return; fi
  if [ -n "$found" ]; then
    fail "$(command -v deno) is $found and comes first on PATH. Put the new one in front, then repeat 'sh setup.sh':" \
      "  export PATH=\"$bin:\$PATH\""
  fi
  case ":$PATH:" in
    *":$bin:"*) fail "Deno was installed into $bin but does not start; 'deno --version' says why." ;;
    *) fail "Deno was installed into $bin, which is not on PATH. Run this, then repeat 'sh setup.sh':" \
      "  export PATH=\"$bin:\$PATH\"" ;;
  esac
}

# The Vulkan driver files the loader would read, one a line.
driver_files() {
  for list in "${VK_DRIVER_FILES:-}" "${VK_ICD_FILENAMES:-}" "${VK_ADD_DRIVER_FILES:-}"; do
    printf '%s\n' "$list" | tr ':' '\n' | while read -r file; do [ ! -f "$file" ] || echo "$file"; done
  done
  for root in /usr/share /usr/local/share /etc /usr/local/etc "${XDG_DATA_HOME:-${HOME:-}/.local/share}"; do
    for file in "$root"/vulkan/icd.d/*.json; do [ ! -f "$file" ] || echo "$file"; done
  done
}

# What WebGPU offers, such as "llvmpipe (LLVM 15.0.6, 256 bits)"; empty where it finds no adapter. On Linux only Vulkan
# counts: Deno would fall back to OpenGL, which is not tested. Without XDG_RUNTIME_DIR the driver prints a false alarm.
adapter() {
  [ "$(uname -s)" != Linux ] || export DENO_WEBGPU_BACKEND=vulkan
  XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp} deno eval --no-config \
    'const a = await navigator.gpu?.requestAdapter(); if (a) console.log(a.info.description || a.info.vendor || "unnamed")' \
    2>/dev/null || true
}

install_driver() {
  if [ "$(uname -s)" != Linux ]; then
    fail "WebGPU finds no adapter. macOS (Metal) and Windows (Direct3D 12) bring their own driver: update the system" \
      "and its graphics driver. On other systems install Vulkan with the lavapipe software driver of Mesa."
  elif command -v apt-get >/dev/null 2>&1; then
    say "installing a Vulkan driver (Debian: mesa-vulkan-drivers libvulkan1; software rendering where there is no GPU)"
    as_root "apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1"
  else
    fail "WebGPU needs a Vulkan driver, and this is not Debian or Ubuntu. Install one, then repeat 'sh setup.sh':" \
      "  Fedora:   dnf install mesa-vulkan-drivers vulkan-loader" \
      "  Arch:     pacman -S vulkan-swrast vulkan-icd-loader" \
      "  openSUSE: zypper install libvulkan_lvp libvulkan1" \
      "  Alpine:   apk add mesa-vulkan-swrast vulkan-loader"
  fi
}

# 1. Deno
version=$(deno_version)
if [ -z "$version" ]; then
  install_deno
elif ! new_enough "$version"; then
  say "Deno $version is older than 2.$DENO_MINOR"
  install_deno
fi
say "Deno $(deno_version) at $(command -v deno)"

# 2. A driver for WebGPU. Driver files without a working GPU behind them (some containers) count as missing.
name=$(adapter)
if [ -z "$name" ]; then
  files=$(driver_files)
  [ -z "$files" ] || say "Vulkan driver files are present but give no adapter:" $files
  install_driver
  name=$(adapter)
fi
[ -n "$name" ] || fail "WebGPU still finds no adapter. 'vulkaninfo --summary' (package vulkan-tools) may say why; for" \
  "the software driver alone: export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.$(uname -m).json"
say "WebGPU adapter: $name"
say "ready"
