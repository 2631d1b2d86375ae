#!/bin/bash
# Sweeps as job arrays of a real Slurm that lives in a folder of its own while this runs: munge, a controller and one
# node, all on this machine. As root, after install.sh. usage: run.sh PATH/TO/rwkvlab
set -euo pipefail
if [ "$(id -u)" -ne 0 ] || ! command -v slurmctld slurmd munged sbatch >/dev/null; then
  echo "this needs root, and Slurm as tests/slurm/install.sh installs it" >&2
  # Without the preset that asks for it, the test is skipped.
  if [ -n "${RWKVLAB_NEEDS_SLURM-}" ]; then exit 1; fi
  exit 77
fi
program=$(realpath "$1")
work=$(mktemp --directory --tmpdir rwkvlab-slurm-XXXXXX)
pids=()

finish() {
  local code=$?
  if [ "$code" -ne 0 ]; then
    tail -n 30 "$work"/*.log "$work"/sweeps/*/slurm/*.out 2>/dev/null || true
  fi
  # Before the daemons go, so that no task is left behind.
  if [ -n "${SLURM_CONF-}" ]; then
    scancel --user "$(id -un)" 2>/dev/null || true
    for _ in $(seq 50); do queue_is_empty 2>/dev/null && break || sleep 0.1; done
  fi
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

# Waits until a command succeeds.
await() {
  local what=$1
  shift
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  fail "$what did not happen within half a minute"
}

start_slurm() {
  chmod 755 "$work"
  mkdir -p "$work"/{munge,state,spool,sweeps}
  head -c 128 /dev/urandom >"$work/munge/key"
  chmod 700 "$work/munge"
  chmod 600 "$work/munge/key"
  local socket="$work/munge/socket"
  munged --foreground --force --key-file="$work/munge/key" --socket="$socket" --pid-file="$work/munge/pid" \
    --seed-file="$work/munge/seed" --log-file="$work/munge/log" >"$work/munged.log" 2>&1 &
  pids+=($!)
  await "munge" test -S "$socket"
  chmod 711 "$work/munge"
  local host
  host=$(hostname -s)
  cat >"$work/slurm.conf" <<CONF
ClusterName=rwkvlab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=60
SchedulerParameters=sched_interval=1,batch_sched_delay=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=10 State=UP
CONF
  export SLURM_CONF="$work/slurm.conf"
  # Nothing is confined here; the older plugin starts without control groups.
  echo "CgroupPlugin=cgroup/v1" >"$work/cgroup.conf"
  slurmctld -D -i -f "$SLURM_CONF" >"$work/slurmctld.log" 2>&1 &
  pids+=($!)
  slurmd -D -f "$SLURM_CONF" >"$work/slurmd.log" 2>&1 &
  pids+=($!)
  await "a node that is ready" bash -c "sinfo -h -o %T | grep -q idle"
}

queue_is_empty() { [ -z "$(squeue -h)" ]; }
status_is() { grep -q "\"status\": \"$2\"" "$1/status.json"; }

make_experiments() {
  cd "$work/sweeps"
  for i in $(seq 3000); do printf '.%d+%d=' "$i" $((i * 7 % 1000)); done >text.txt
  cat >base.yaml <<'YAML'
model: {layers: 2, width: 16}
data: {kind: text, files: [text.txt]}
train: {steps: 20, batch: 2, context: 32, checkpoint_every: 10}
eval: {every: 20, batches: 2}
YAML
  cat >grid.yaml <<'YAML'
extends: base.yaml
sweep: {grid: {model.width: [8, 16]}, seeds: 2}
YAML
  cat >long.yaml <<'YAML'
extends: base.yaml
train: {steps: 1000000}
sweep: {list: [{label: long}]}
YAML
}

test_array() {
  local sweep="odd 'n\" %ame"
  "$program" run grid.yaml --out "$sweep" --launcher slurm --jobs 2 --slurm-option=--time=5 | tee submitted.txt
  grep -Eq '^submitted job [0-9]+: 4 tasks' submitted.txt || fail "the submission was not announced"
  await "the end of the array" queue_is_empty
  for run in width=8/seed-1 width=8/seed-2 width=16/seed-1 width=16/seed-2; do
    status_is "$sweep/runs/$run" done || fail "$run is not done"
  done
  [ "$(find "$sweep/slurm" -name '*_[0-3].out' | wc -l)" -eq 4 ] || fail "the tasks wrote no output beside the script"
  "$program" run "$sweep" --resume --launcher slurm | grep -q "nothing is missing" || fail "finished runs ran again"
  "$program" table "$sweep" >/dev/null || fail "no table"
}

# A task that the cluster ends leaves a checkpoint, and a second submission goes on from there.
test_cancelled() {
  "$program" run long.yaml --out long --launcher slurm | tee submitted.txt
  await "a checkpoint" grep -q "  checkpoint" long/runs/long/seed-1/log.txt
  scancel "$(sed -n 's/^submitted job \([0-9]*\):.*/\1/p' submitted.txt)"
  await "the end of the cancelled job" queue_is_empty
  await "the word of the run" status_is long/runs/long/seed-1 interrupted
  "$program" run long --resume --launcher slurm
  await "the run to go on" grep -q "resumed after step" long/runs/long/seed-1/log.txt
  scancel --user "$(id -un)"
  await "the end" queue_is_empty
}

start_slurm
make_experiments
test_array
test_cancelled
echo "Slurm runs sweeps."
