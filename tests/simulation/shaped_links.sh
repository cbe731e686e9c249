#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The same program on real ranks: one rank in each of RANKS network namespaces of this machine,
# behind a bridge, over TCP, each link let RATE bits a second through either way by tbf. As root.
#
#     tests/simulation/shaped_links.sh PROGRAM RANKS RATE SCALE_JSON [NAME=VALUE ...]
#
# PROGRAM is the simulation as the ordinary build makes it (build/tests/simulation/simulate_links);
# RATE is tc's, such as 200mbit. Links have the delay of this machine's bridge: netem, which would
# lengthen it, is not in every kernel. Exit 77: not root, or no ip and tc.
set -euo pipefail
program=$(realpath "$1")
ranks=$2
rate=$3
shift 3
name=ljsim$$

if [ "$(id -u)" -ne 0 ] || ! command -v ip >/dev/null || ! command -v tc >/dev/null; then
    echo "shaped_links.sh: needs root, ip and tc" >&2
    exit 77
fi

remove() {
    local i
    for ((i = 0; i < ranks; i++)); do ip netns del "$name-$i" 2>/dev/null || true; done
    ip link del "$name" 2>/dev/null || true
    rm -rf "$work"
}
work=$(mktemp -d)
trap remove EXIT

ip link add "$name" type bridge
ip addr add 10.213.0.254/24 dev "$name"
ip link set "$name" up
for ((i = 0; i < ranks; i++)); do
    ip netns add "$name-$i"
    ip link add "p$i-$$" type veth peer name eth0 netns "$name-$i"
    ip link set "p$i-$$" master "$name" up
    ip -n "$name-$i" addr add "10.213.0.$((i + 1))/24" dev eth0
    ip -n "$name-$i" link set eth0 up
    ip -n "$name-$i" link set lo up
    tc -n "$name-$i" qdisc add dev eth0 root tbf rate "$rate" burst 64kb limit 4mb
    tc qdisc add dev "p$i-$$" root tbf rate "$rate" burst 64kb limit 4mb
    echo "10.213.0.$((i + 1)) slots=1" >>"$work/hosts"
done

# Stands in for ssh: enters the namespace of an address.
cat >"$work/enter" <<END
#!/usr/bin/env bash
while [[ \$1 == -* ]]; do shift; done
namespace=$name-\$((\${1##*.} - 1))
shift
exec ip netns exec "\$namespace" bash -c "\$*"
END
chmod +x "$work/enter"

mpirun --allow-run-as-root -n "$ranks" --hostfile "$work/hosts" --map-by node --bind-to none \
    --mca plm_rsh_agent "$work/enter" --mca oob_tcp_if_include 10.213.0.0/24 \
    --mca btl tcp,self --mca pml ob1 --mca btl_tcp_if_include 10.213.0.0/24 \
    --mca mpi_yield_when_idle 1 "$program" "$@"
