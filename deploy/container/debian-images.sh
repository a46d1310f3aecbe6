#!/usr/bin/env bash
# debian-images.sh [--base] [--cuda] [--services] [BUILD_DIR [NAME]]: images NAME:coordinator and NAME:cpu (merganser:... unless set)
# where no base image can be pulled. Their Debian comes from its packages (mmdebstrap), of the release that this machine runs; the
# programs come from a finished build, .build/release unless set; the rest is the Dockerfile's own stages, by buildah. They are left
# in this machine's container storage, for buildah and podman:
#
#   deploy/container/debian-images.sh && buildah push merganser:cpu oci-archive:merganser-cpu.tar
#
#   --cuda      NAME:cuda too (4 GB), where the build's libtorch is that of a CUDA wheel
#   --services  NAME:redis and NAME:prometheus too, for compose.yaml
#   --base      nothing but the base, whose name is printed; no build is needed
#
# Needs root and the Debian packages mmdebstrap and buildah. The base, merganser-debian:CODENAME, is made once
# (`buildah rmi merganser-debian:CODENAME` renews it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
TARGETS=(coordinator cpu) SERVICES=() BASE=0
while [[ "${1:-}" == --* ]]; do
  case "$1" in
    --cuda) TARGETS+=(cuda) ;;
    --base) BASE=1 ;;
    --services) SERVICES=(redis prometheus) ;;
    *) echo "usage: debian-images.sh [--base] [--cuda] [--services] [BUILD_DIR [NAME]]" >&2; exit 2 ;;
  esac
  shift
done
BUILD="${1:-.build/release}" NAME="${2:-merganser}"
say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || die "mmdebstrap and buildah need root here"
for program in mmdebstrap buildah; do
  command -v "$program" >/dev/null || die "no $program (apt-get install mmdebstrap buildah)"
done
[ $BASE -eq 1 ] || [ -x "$BUILD/bin/merganser-worker" ] || die "$BUILD holds no build: ./dev build first, or name the folder"
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

if [ $BASE -eq 1 ]; then echo "$DEBIAN"; exit; fi

say "installing $BUILD"
COMPONENTS=(merganser:merganser torch_cpu:torch-cpu)
if [[ " ${TARGETS[*]} " == *" cuda "* ]]; then COMPONENTS+=(torch:torch-cuda); fi
for component in "${COMPONENTS[@]}"; do
  cmake --install "$BUILD" --prefix "$DIR/build/opt/${component#*:}" --strip --component "${component%:*}" >"$DIR/log" ||
    { tail "$DIR/log" >&2; die "cmake --install"; }
done
deploy/container/debian-packages.sh "$DIR/build/opt/merganser" >"$DIR/build/opt/merganser/packages"

build() {  # TARGET DOCKERFILE CONTEXT
  say "building $NAME:$1"
  buildah build --quiet --layers --pull-never --build-arg "DEBIAN=$DEBIAN" --build-context "build=$DIR/build" \
    --target "$1" --tag "$NAME:$1" --file "$2" "$3" >"$DIR/log" 2>&1 ||
    { tail -n 40 "$DIR/log" >&2; die "buildah build --target $1"; }
}
# The Dockerfile without the stage that compiles; `build` is the folder instead.
awk '/^FROM / {skip = / AS build$/} !skip' deploy/container/Dockerfile >"$DIR/Dockerfile"
for target in "${TARGETS[@]}"; do build "$target" "$DIR/Dockerfile" "$DIR/build"; done
mkdir "$DIR/empty"
for target in ${SERVICES[@]+"${SERVICES[@]}"}; do build "$target" deploy/container/Dockerfile.services "$DIR/empty"; done
buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' | grep "/$NAME:"
