#!/bin/sh
# Installs Slurm from Debian's packages, for the test preset `slurm`. As root.
set -eu
apt-get update -qq
# The test starts its own daemons; the packages must not.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends munge slurmctld slurmd slurm-client
