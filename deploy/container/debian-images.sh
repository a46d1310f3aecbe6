#!/usr/bin/env bash
# debian-images.sh [BUILD_DIR [NAME]]: images NAME:coordinator and NAME:cpu (merganser:... unless set) where no base image can be
# pulled. Their Debian comes from its packages (mmdebstrap), of the release that this machine runs; the programs come from a
# finished build, .build/release unless set; the rest is the Dockerfile's own stages, by buildah. They are left in this machine's
# container storage, for buildah and podman:
#
#   deploy/container/debian-images.sh && buildah push merganser:cpu oci-archive:merganser-cpu.tar
#
# Needs root and the Debian packages mmdebstrap and buildah. The base, merganser-debian:CODENAME, is made once
# (`buildah rmi merganser-debian:CODENAME` renews it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BUILD="${1:-.build/release}" NAME="${2:-merganser}"
say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || die "mmdebstrap and buildah need root here"
for program in mmdebstrap buildah; do
  command -v "$program" >/dev/null || die "no $program (apt-get install mmdebstrap buildah)"
done
[ -x "$BUILD/bin/merganser-worker" ] || die "$BUILD holds no build: ./dev build first, or name the folder"
# In a chroot, without namespaces of its own: no container runtime is needed, and it works inside a container too.
export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
CODENAME="$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)"
DEBIAN="localhost/merganser-debian:$CODENAME"
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-images.XXXXXX")"
trap 'rm -rf "$DIR"' EXIT

if ! buildah inspect --type image "$DEBIAN" >/dev/null 2>&1; then
  say "making $DEBIAN from Debian's packages: a minute or two, once"
  mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' "$CODENAME" "$DIR/debian.tar" >&2
  container="$(buildah from scratch)"
  buildah add --quiet "$container" "$DIR/debian.tar" / >/dev/null
  buildah config --cmd bash "$container"
  buildah commit --quiet --rm "$container" "$DEBIAN" >/dev/null
  rm "$DIR/debian.tar"
fi

say "installing $BUILD"
for component in merganser:merganser torch_cpu:torch-cpu; do
  cmake --install "$BUILD" --prefix "$DIR/build/opt/${component#*:}" --strip --component "${component%:*}" >"$DIR/log" ||
    { tail "$DIR/log" >&2; die "cmake --install"; }
done
deploy/container/debian-packages.sh "$DIR/build/opt/merganser" >"$DIR/build/opt/merganser/packages"

# The Dockerfile without the stage that compiles and the one that needs CUDA; `build` is the folder instead.
awk '/^FROM / {skip = / AS (build|cuda)$/} !skip' deploy/container/Dockerfile >"$DIR/Dockerfile"
for target in coordinator cpu; do
  say "building $NAME:$target"
  buildah build --quiet --layers --pull-never --build-arg "DEBIAN=$DEBIAN" --build-context "build=$DIR/build" \
    --target "$target" --tag "$NAME:$target" --file "$DIR/Dockerfile" "$DIR/build" >"$DIR/log" 2>&1 ||
    { tail -n 40 "$DIR/log" >&2; die "buildah build --target $target"; }
done
buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' | grep "/$NAME:\(coordinator\|cpu\) "
