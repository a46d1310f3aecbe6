# podman.sh: sourced by tests that start containers with podman. use_podman DIR IMAGE makes podman run IMAGE on a network of its own
# on this machine, or says why it cannot and fails; its settings go into DIR.
#
# Containers find each other by name on netavark's networks. What else differs is what a machine may not permit: podman's own limits
# above those of who starts it, systemd's cgroups where there is no systemd, crun where cgroups are of both versions.
use_podman() {
  local dir="$1" image="$2" name="merganser-podman-$$" settings
  export CONTAINERS_CONF="$dir/containers.conf"
  mkdir -p "$dir/networks"
  for settings in '' 'cgroup_manager = "cgroupfs"' $'cgroup_manager = "cgroupfs"\nruntime = "runc"'; do
    cat >"$CONTAINERS_CONF" <<CONF
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
[network]
network_backend = "netavark"
network_config_dir = "$dir/networks"
[engine]
$settings
CONF
    podman network exists "$name" 2>/dev/null || podman network create "$name" >/dev/null 2>"$dir/podman.log" || continue
    if podman run --rm --network "$name" "$image" true >/dev/null 2>"$dir/podman.log"; then
      podman network rm -f "$name" >/dev/null
      return 0
    fi
  done
  podman network rm -f "$name" >/dev/null 2>&1 || true
  echo "podman runs no container on a network of its own here: $(tail -n 1 "$dir/podman.log")"
  return 1
}
